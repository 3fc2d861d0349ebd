package check

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"

	"docket/internal/api"
	"docket/internal/problem"
)

// maxFaults is the most faults that one problem lists.
const maxFaults = 100

// dropUnknown removes an object's unknown properties beyond the number of faults that a problem lists. The library
// describes each of them: for thousands, that would take as long as a hundred lists.
func (s *bodySchema) dropUnknown(object map[string]any) {
	if len(object) <= len(s.Properties)+maxFaults {
		return
	}
	unknown := slices.DeleteFunc(sortedKeys(object), func(name string) bool { return s.Properties[name] != nil })
	for _, name := range unknown[min(maxFaults, len(unknown)):] {
		delete(object, name)
	}
}

// faults lists what is wrong with a body, at most one fault for each part of it, in the words of this package: the
// library's messages contain the schema and the value that was sent.
func (s *bodySchema) faults(value any) []api.Fault {
	var faults []api.Fault
	seen := map[string]bool{}
	for _, e := range schemaErrors(s.Schema, value) {
		if len(faults) == maxFaults {
			break
		}
		if e.SchemaField == "minProperties" && len(e.JSONPointer()) == 0 {
			continue // check reports it, because only fields count
		}
		v := violationOf(e)
		if v.code == problem.FaultUnknown && len(e.JSONPointer()) == 0 {
			v.allowed, v.must = s.fields, "is not known; the fields are "+joined(s.fields, "and")
		}
		f := v.at(problem.Body, pointerOf(e))
		if !seen[*f.Pointer] {
			seen[*f.Pointer] = true
			faults = append(faults, f)
		}
	}
	return faults
}

// schemaErrors validates a value.
func schemaErrors(schema *openapi3.Schema, value any) []*openapi3.SchemaError {
	err := schema.VisitJSON(value, openapi3.VisitAsRequest(), openapi3.MultiErrors())
	if err == nil {
		return nil
	}
	return leaves(err)
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
	return []*openapi3.SchemaError{{Reason: "does not have the documented form"}}
}

// pointerEscape escapes a JSON pointer (RFC 6901, section 3).
var pointerEscape = strings.NewReplacer("~", "~0", "/", "~1")

// pointerOf returns the JSON pointer of an error, as a URI fragment.
func pointerOf(e *openapi3.SchemaError) string {
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
	return "#" + fragment.EscapedFragment()
}

// violation is what is wrong with a value. It never contains the value.
type violation struct {
	code     string
	must     string // what the value must be, the rest of a sentence
	min, max *int64
	allowed  []string
}

// at returns the fault of a part of the request: problem.Body, Parameter or Header.
func (v violation) at(part func(name, code, must string) api.Fault, name string) api.Fault {
	f := part(name, v.code, v.must)
	f.Min, f.Max, f.Allowed = v.min, v.max, v.allowed
	return f
}

func violationOf(e *openapi3.SchemaError) *violation {
	s := e.Schema
	if s == nil {
		return &violation{code: problem.FaultInvalidFormat, must: e.Reason}
	}
	switch e.SchemaField {
	case "required":
		return &violation{code: problem.FaultRequired, must: "is required"}
	case "properties":
		allowed := sortedKeys(s.Properties)
		return &violation{code: problem.FaultUnknown, must: "is not known; the fields are " + joined(allowed, "and"), allowed: allowed}
	case "type", "nullable":
		return &violation{code: problem.FaultInvalidType, must: "must be " + typeOf(s)}
	case "enum":
		values := make([]string, len(s.Enum))
		for i, v := range s.Enum {
			values[i] = fmt.Sprint(v)
		}
		return &violation{code: problem.FaultNotOneOf, must: "must be one of " + joined(values, "or"), allowed: values}
	case "minProperties":
		return &violation{code: problem.FaultRequired, must: "must have at least one field"}
	case "not":
		said, _ := s.Not.Value.Extensions["x-fault"].(string)
		return &violation{code: problem.FaultBlank, must: said}
	case "minLength", "maxLength", "pattern":
		text, _ := e.Value.(string)
		return violationOfText(s, text)
	case "format", "minimum", "maximum": // the document's limits are narrower than those of the format int32
		if s.Min != nil || s.Max != nil {
			return violationOfNumber(s)
		}
	case "minItems":
		least := int64(s.MinItems)
		return &violation{code: problem.FaultTooShort, must: fmt.Sprintf("must be given at least %d times", least), min: &least}
	case "maxItems":
		most := int64(*s.MaxItems)
		must := fmt.Sprintf("must be given at most %d times", most)
		if len(e.JSONPointer()) > 0 { // of a body
			must = fmt.Sprintf("must have at most %d items", most)
		}
		return &violation{code: problem.FaultTooLong, must: must, max: &most}
	}
	return &violation{code: problem.FaultInvalidFormat, must: "does not have the documented form"}
}

func typeOf(s *openapi3.Schema) string {
	text := "a "
	switch {
	case s.Type.Is("boolean"):
		text = "true or false"
	case s.Type.Is("integer") || s.Type.Is("object") || s.Type.Is("array"):
		text = "an "
		fallthrough
	default:
		text += strings.Join(s.Type.Slice(), " or ")
	}
	if s.Nullable {
		text += " or null"
	}
	return text
}

// violationOfText finds out why a text has the wrong length or does not match the pattern. x-max-trimmed is the greatest
// length without white space at both ends, and x-fault is what the pattern demands.
func violationOfText(s *openapi3.Schema, text string) *violation {
	trimmed, most := text, s.MaxLength
	trimmedMost, trims := s.Extensions["x-max-trimmed"].(float64)
	if trims {
		n := uint64(trimmedMost)
		trimmed, most = strings.TrimSpace(text), &n
	}
	length := uint64(utf8.RuneCountInString(trimmed))
	said, _ := s.Extensions["x-fault"].(string)
	switch {
	case trims && trimmed == "":
		return &violation{code: problem.FaultBlank, must: "must not be blank"}
	case most != nil && length > *most:
		n := int64(*most)
		return &violation{code: problem.FaultTooLong, must: fmt.Sprintf("must be at most %d characters long", n), max: &n}
	case said != "":
		return &violation{code: problem.FaultInvalidFormat, must: said}
	case strings.Contains(text, "\x00"):
		return &violation{code: problem.FaultInvalidCharacter, must: "must not contain the character U+0000"}
	case trims:
		return &violation{code: problem.FaultBlank, must: "must not be blank"}
	case text == "" && s.MinLength > 0:
		return &violation{code: problem.FaultBlank, must: "must not be empty"}
	case length < s.MinLength:
		n := int64(s.MinLength)
		return &violation{code: problem.FaultTooShort, must: fmt.Sprintf("must be at least %d characters long", n), min: &n}
	}
	return &violation{code: problem.FaultInvalidFormat, must: "does not have the documented form"}
}

func violationOfNumber(s *openapi3.Schema) *violation {
	v := &violation{code: problem.FaultOutOfRange}
	if s.Min != nil {
		n := int64(*s.Min)
		v.min, v.must = &n, fmt.Sprintf("must be at least %d", n)
	}
	if s.Max != nil {
		n := int64(*s.Max)
		v.max, v.must = &n, fmt.Sprintf("must be at most %d", n)
	}
	if v.min != nil && v.max != nil {
		v.must = fmt.Sprintf("must be from %d to %d", *v.min, *v.max)
	}
	return v
}
