package check

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"

	"docket/internal/api"
	"docket/internal/problem"
)

// parameter is a parameter of the document.
type parameter struct {
	name     string
	in       string
	resource string // the resource that an id in the path identifies
	schema   *openapi3.Schema
	typ      string // of a value, or of the items of an array
	array    bool
}

func compileParameter(def *openapi3.Parameter) (*parameter, error) {
	p := &parameter{name: def.Name, in: def.In, schema: def.Schema.Value}
	p.resource, _ = def.Extensions["x-resource"].(string)
	item := p.schema
	if p.array = p.schema.Type.Is("array"); p.array {
		if def.Style != "" && def.Style != "form" || def.Explode != nil && !*def.Explode {
			return nil, fmt.Errorf("parameter %s: only form style with explode is supported", p.name)
		}
		item = p.schema.Items.Value
	}
	for _, typ := range []string{"string", "integer", "boolean"} {
		if item.Type.Is(typ) {
			p.typ = typ
			return p, nil
		}
	}
	return nil, fmt.Errorf("parameter %s: its type is not supported", p.name)
}

// integerPattern is an integer as JSON writes it: no plus, no leading zero.
var integerPattern = regexp.MustCompile(`^(0|-?[1-9][0-9]{0,17})$`)

// check returns what is wrong with the parameter's values, or nil if they are valid.
func (p *parameter) check(values []string) *violation {
	if !p.array && len(values) > 1 {
		return &violation{code: problem.FaultRepeated, must: "must not be repeated"}
	}
	parsed := make([]any, len(values))
	for i, text := range values {
		if !utf8.ValidString(text) {
			return &violation{code: problem.FaultInvalidFormat, must: "must be UTF-8"}
		}
		switch p.typ {
		case "string":
			parsed[i] = text
		case "boolean":
			if text != "true" && text != "false" {
				return &violation{code: problem.FaultNotOneOf, must: "must be true or false", allowed: []string{"true", "false"}}
			}
			parsed[i] = text == "true"
		case "integer":
			if !integerPattern.MatchString(text) {
				return &violation{code: problem.FaultInvalidType, must: "must be an integer"}
			}
			n, _ := strconv.ParseInt(text, 10, 64) // the pattern admits no more digits than fit
			parsed[i] = float64(n)
		}
	}
	var value any = parsed
	if !p.array {
		value = parsed[0]
	}
	errs := schemaErrors(p.schema, value)
	if len(errs) == 0 {
		return nil
	}
	return violationOf(errs[0])
}

// lists are the header parameters whose value is a list.
var lists = map[string]bool{"If-Match": true, "If-None-Match": true}

// checkParameters checks the parameters in the path, the header and the query.
func (op *Operation) checkParameters(r *http.Request) error {
	for _, p := range op.paths {
		// No resource has an id that is not well-formed.
		if id := r.PathValue(p.name); p.check([]string{id}) != nil || strings.Contains(id, "\x00") {
			return problem.NotFound(p.resource)
		}
	}
	var faults []api.Fault
	for _, p := range op.headers {
		values := r.Header.Values(p.name)
		if len(values) == 0 {
			continue
		}
		if lists[p.name] {
			// Several lines are one list (RFC 9110, section 5.3), which the generated code wants in one line.
			values = []string{strings.Join(values, ", ")}
			r.Header[p.name] = values
		}
		if v := p.check(values); v != nil {
			faults = append(faults, v.at(problem.Header, p.name))
		}
	}
	if r.URL.RawQuery != "" || r.URL.ForceQuery {
		faults = append(faults, op.checkQuery(r.URL.RawQuery)...)
	}
	if len(faults) > 0 {
		return problem.InvalidParameters(faults...)
	}
	return nil
}

// checkQuery refuses what would otherwise be ignored silently: unknown and repeated parameters, invalid escapes and
// semicolons.
func (op *Operation) checkQuery(raw string) []api.Fault {
	values := map[string][]string{}
	var faults []api.Fault
	for pair := range strings.SplitSeq(raw, "&") {
		if len(faults) == maxFaults {
			break // no more are listed, and describing thousands would cost fifty times as much as a list
		}
		if pair == "" {
			continue // "?" or "&" with nothing after it, as some URL builders leave it
		}
		escaped, value, _ := strings.Cut(pair, "=")
		name, errName := url.QueryUnescape(escaped)
		value, errValue := url.QueryUnescape(value)
		switch {
		case errors.Join(errName, errValue) != nil || strings.Contains(pair, ";"):
			faults = append(faults, problem.Parameter(printable(escaped), problem.FaultInvalidFormat, "is not properly percent-encoded"))
		case op.queries[name] == nil:
			faults = append(faults, op.unknownQuery().at(problem.Parameter, printable(name)))
		default:
			values[name] = append(values[name], value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if v := op.queries[name].check(values[name]); v != nil {
			faults = append(faults, v.at(problem.Parameter, name))
		}
	}
	return faults[:min(len(faults), maxFaults)]
}

// printable returns the name of a parameter in a form that a response may repeat.
func printable(name string) string {
	if name == "" {
		return "(no name)"
	}
	return strings.ToValidUTF8(problem.Clip(name, 64), "\ufffd")
}

func (op *Operation) unknownQuery() violation {
	v := violation{code: problem.FaultUnknown, must: "is not known; this operation has none", allowed: sortedKeys(op.queries)}
	if len(v.allowed) > 0 {
		v.must = "is not known; this operation has " + joined(v.allowed, "and")
	}
	return v
}

func sortedKeys[M ~map[string]V, V any](m M) []string { return slices.Sorted(maps.Keys(m)) }

// joined writes a list in words: "a, b or c".
func joined(words []string, last string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " " + last + " " + words[len(words)-1]
}
