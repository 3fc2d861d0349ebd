package check

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"docket/internal/api"
	"docket/internal/problem"
)

// maxFaults is the most faults that one problem lists.
const maxFaults = 100

// checkSchema validates a request body. It reports all faults at once, in its own words: the library's messages contain
// the schema and the value that was sent.
func checkSchema(schema *openapi3.Schema, value any) error {
	dropUnknown(schema, value)
	faults := schemaFaults(schema, value)
	if len(faults) == 0 {
		return nil
	}
	if object, ok := value.(map[string]any); ok && len(object) == 0 && schema.MinProps > 0 {
		return &problem.Problem{
			Type:   problem.NoChanges,
			Detail: "Send at least one field to change: " + joined(sortedKeys(schema.Properties), "or") + ".",
			Faults: faults,
		}
	}
	return &problem.Problem{Type: problem.ValidationFailed, Detail: problem.Summary(faults), Faults: faults}
}

// dropUnknown removes an object's unknown properties beyond the number of faults that a problem lists. The library
// describes each of them: for thousands, that would take as long as a hundred lists.
func dropUnknown(schema *openapi3.Schema, value any) {
	object, _ := value.(map[string]any)
	if len(object) <= len(schema.Properties)+maxFaults {
		return
	}
	unknown := slices.DeleteFunc(sortedKeys(object), func(name string) bool { return schema.Properties[name] != nil })
	for _, name := range unknown[min(maxFaults, len(unknown)):] {
		delete(object, name)
	}
}

// schemaFaults lists what is wrong with a value, at most one fault for each part of it.
func schemaFaults(schema *openapi3.Schema, value any) []api.Fault {
	err := schema.VisitJSON(value, openapi3.VisitAsRequest(), openapi3.MultiErrors())
	if err == nil {
		return nil
	}
	var faults []api.Fault
	seen := map[string]bool{}
	for _, e := range leaves(err) {
		if len(faults) == maxFaults {
			break
		}
		f := faultOf(e)
		if !seen[*f.Pointer] {
			seen[*f.Pointer] = true
			faults = append(faults, f)
		}
	}
	return faults
}

// leaves returns the errors that a nested error of the library consists of.
func leaves(err error) []*openapi3.SchemaError {
	if many, ok := errors.AsType[openapi3.MultiError](err); ok {
		var all []*openapi3.SchemaError
		for _, e := range many {
			all = append(all, leaves(e)...)
		}
		return all
	}
	if one, ok := errors.AsType[*openapi3.SchemaError](err); ok {
		return []*openapi3.SchemaError{one}
	}
	return []*openapi3.SchemaError{{Reason: "does not match the document"}}
}

// pointerEscape escapes a JSON pointer (RFC 6901, section 3).
var pointerEscape = strings.NewReplacer("~", "~0", "/", "~1")

func faultOf(e *openapi3.SchemaError) api.Fault {
	path := e.JSONPointer()
	if e.SchemaField == "properties" {
		// Only the library's message contains the name of an unknown property.
		if quoted, err := strconv.QuotedPrefix(strings.TrimPrefix(e.Reason, "property ")); err == nil {
			name, _ := strconv.Unquote(quoted)
			path = append(path, problem.Clip(name, 64))
		}
	}
	var pointer strings.Builder
	for _, token := range path {
		pointer.WriteString("/" + pointerEscape.Replace(token))
	}
	fragment := url.URL{Fragment: problem.Clip(pointer.String(), 300)}
	return problem.Body("#"+fragment.EscapedFragment(), detailOf(e))
}

// detailOf returns what a value must be. It never repeats the value.
func detailOf(e *openapi3.SchemaError) string {
	s := e.Schema
	if s == nil {
		return e.Reason
	}
	switch e.SchemaField {
	case "required":
		return "is required"
	case "properties":
		return "is not a property here; allowed are " + joined(sortedKeys(s.Properties), "and")
	case "type", "nullable":
		article := "a "
		if s.Type.Is("integer") || s.Type.Is("object") || s.Type.Is("array") {
			article = "an "
		}
		text := "must be " + article + strings.Join(s.Type.Slice(), " or ")
		if s.Nullable {
			text += " or null"
		}
		return text
	case "enum":
		values := make([]string, len(s.Enum))
		for i, v := range s.Enum {
			values[i] = fmt.Sprint(v)
		}
		return "must be one of " + joined(values, "or")
	case "minProperties":
		return "must have at least one field"
	}
	if said, ok := s.Extensions["x-fault"].(string); ok {
		return said
	}
	switch e.SchemaField {
	case "format":
		if s.Min != nil && s.Max != nil { // int32: the document's limits are narrower
			return fmt.Sprintf("must be from %.0f to %.0f", *s.Min, *s.Max)
		}
	case "minLength":
		return fmt.Sprintf("must be at least %d characters long", s.MinLength)
	case "maxLength":
		return fmt.Sprintf("must be at most %d characters long", *s.MaxLength)
	case "minimum":
		return fmt.Sprintf("must be at least %.0f", *s.Min)
	case "maximum":
		return fmt.Sprintf("must be at most %.0f", *s.Max)
	case "minItems":
		return fmt.Sprintf("must be given at least %d times", s.MinItems)
	case "maxItems":
		return fmt.Sprintf("must be given at most %d times", *s.MaxItems)
	}
	return "does not match the document"
}
