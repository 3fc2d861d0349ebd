package server

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"

	"docket/internal/api"
)

// parameter is a parameter of the contract, compiled once.
type parameter struct {
	name   string
	in     string
	schema *openapi3.Schema
	typ    string // of a value, or of the items of an array
	array  bool
	quick  func(text string) bool // whether a single value is good; nil: only the schema knows
}

func compileParameter(def *openapi3.Parameter) (*parameter, error) {
	p := &parameter{name: def.Name, in: def.In, schema: def.Schema.Value}
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
			p.quick = quickCheck(p.schema)
			return p, nil
		}
	}
	return nil, fmt.Errorf("parameter %s: its type is not supported", p.name)
}

// integerPattern is an integer as JSON writes it: no plus, no leading zero.
var integerPattern = regexp.MustCompile(`^(0|-?[1-9][0-9]{0,17})$`)

// check says what is wrong with the parameter's values, or nothing.
func (p *parameter) check(values []string) string {
	if !p.array && len(values) > 1 {
		return "must not be repeated"
	}
	if p.quick != nil && p.quick(values[0]) {
		return ""
	}
	parsed := make([]any, len(values))
	for i, text := range values {
		if !utf8.ValidString(text) {
			return "must be UTF-8"
		}
		switch p.typ {
		case "string":
			parsed[i] = text
		case "boolean":
			if text != "true" && text != "false" {
				return "must be true or false"
			}
			parsed[i] = text == "true"
		case "integer":
			if !integerPattern.MatchString(text) {
				return "must be an integer"
			}
			n, _ := strconv.ParseInt(text, 10, 64) // the pattern admits no more digits than fit
			parsed[i] = float64(n)
		}
	}
	var value any = parsed
	if !p.array {
		value = parsed[0]
	}
	faults := schemaFaults(p.schema, value)
	if len(faults) == 0 {
		return ""
	}
	return faults[0].Detail
}

// checkQuery refuses what would otherwise be dropped in silence: unknown and repeated parameters, broken escapes and
// semicolons.
func (op *operation) checkQuery(x *exchange, raw string) []api.Fault {
	values := map[string][]string{}
	x.query = values
	faults := noFaults
	for pair := range strings.SplitSeq(raw, "&") {
		if len(faults) == maxFaults {
			break // the answer lists no more, and words for thousands of them cost fifty times a list
		}
		if pair == "" {
			continue // "?" and "&" with nothing behind them, as URL builders leave them
		}
		escaped, value, _ := strings.Cut(pair, "=")
		name, errName := url.QueryUnescape(escaped)
		value, errValue := url.QueryUnescape(value)
		switch {
		case errors.Join(errName, errValue) != nil || strings.Contains(pair, ";"):
			faults = append(faults, fault(shown(escaped), "is not properly percent-encoded"))
		case op.queries[name] == nil:
			faults = append(faults, fault(shown(name), op.unknownQuery()))
		default:
			values[name] = append(values[name], value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if detail := op.queries[name].check(values[name]); detail != "" {
			faults = append(faults, fault(name, detail))
		}
	}
	return faults[:min(len(faults), maxFaults)]
}

// shown is the name of a parameter as an answer may repeat it.
func shown(name string) string {
	if name == "" {
		return "(no name)"
	}
	return strings.ToValidUTF8(clip(name, 64), "\ufffd")
}

func (op *operation) unknownQuery() string {
	if len(op.queries) == 0 {
		return "is not a parameter of this operation, which has none"
	}
	return "is not a parameter of this operation; it has " + joined(sortedKeys(op.queries), "and")
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// joined is a list in words: "a, b or c".
func joined(words []string, last string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " " + last + " " + words[len(words)-1]
}
