package server

import (
	"bytes"
	"errors"
	"io"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/go-json-experiment/json/jsontext"
)

// The quick checks say of what is good that it is good. All else is left to the library, which says what is wrong. That
// they never say it of what the library refuses is for the fuzz tests beside them to show.

// unicodeEscape is how ECMA-262 and the document write a character in a pattern, and Go does not.
var unicodeEscape = regexp.MustCompile(`\\u([0-9a-fA-F]{4})`)

// quickCheck is the check of a single value as the library makes it, without taking value and schema apart anew for
// every request. It is nil for a schema that says more than is looked at here. FuzzParameterIsCheckedLikeTheLibraryDoes
// compares the two.
func quickCheck(s *openapi3.Schema) func(text string) bool {
	known := openapi3.Schema{
		Type: s.Type, MinLength: s.MinLength, MaxLength: s.MaxLength, Pattern: s.Pattern, Enum: s.Enum, Min: s.Min, Max: s.Max,
		Nullable: s.Nullable, // for the caller to look at
		Title:    s.Title, Description: s.Description, Example: s.Example, Extensions: s.Extensions, Origin: s.Origin,
	}
	integer := s.Type.Is("integer") && s.Format == "int32" && s.Min != nil && s.Max != nil && *s.Max <= math.MaxInt32
	if integer {
		known.Format = s.Format
	}
	pattern, err := regexp.Compile(unicodeEscape.ReplaceAllString(s.Pattern, `\x{$1}`))
	if err != nil || !reflect.DeepEqual(*s, known) {
		return nil
	}
	switch {
	case integer:
		return func(text string) bool {
			n, err := strconv.ParseInt(text, 10, 32)
			return err == nil && integerPattern.MatchString(text) && float64(n) >= *s.Min && float64(n) <= *s.Max
		}
	case s.Type.Is("string"):
		return func(text string) bool {
			length := uint64(utf8.RuneCountInString(text))
			return utf8.ValidString(text) && length >= s.MinLength && (s.MaxLength == nil || length <= *s.MaxLength) &&
				(len(s.Enum) == 0 || slices.Contains(s.Enum, any(text))) && (s.Pattern == "" || pattern.MatchString(text))
		}
	}
	return nil
}

// quickBody checks an object in one pass over its text, without decoding it: that is for the generated code to do, once.
type quickBody struct {
	least      uint64 // members
	required   []string
	properties map[string]quickProperty
}

// quickProperty is a text or a truth value.
type quickProperty struct {
	text     func(text string) bool // nil: a truth value
	nullable bool
}

// newQuickBody is nil for a schema that says more than is looked at here.
func newQuickBody(s *openapi3.Schema) *quickBody {
	closed := s.AdditionalProperties
	known := openapi3.Schema{
		Type: s.Type, Required: s.Required, Properties: s.Properties, AdditionalProperties: closed, MinProps: s.MinProps,
		Title: s.Title, Description: s.Description, Example: s.Example, Extensions: s.Extensions, Origin: s.Origin,
	}
	if !s.Type.Is("object") || closed.Has == nil || *closed.Has || !reflect.DeepEqual(*s, known) {
		return nil
	}
	q := &quickBody{least: s.MinProps, required: s.Required, properties: map[string]quickProperty{}}
	for name, ref := range s.Properties {
		property := quickProperty{nullable: ref.Value.Nullable}
		switch plain := (openapi3.Schema{
			Type: ref.Value.Type, Nullable: ref.Value.Nullable, Title: ref.Value.Title, Description: ref.Value.Description,
			Example: ref.Value.Example, Extensions: ref.Value.Extensions, Origin: ref.Value.Origin,
		}); {
		case ref.Value.Type.Is("boolean") && reflect.DeepEqual(*ref.Value, plain):
		case ref.Value.Type.Is("string"):
			if property.text = quickCheck(ref.Value); property.text == nil {
				return nil
			}
		default:
			return nil
		}
		q.properties[name] = property
	}
	return q
}

var scanners = sync.Pool{New: func() any { return new(jsontext.Decoder) }}

// good reports whether the text is a JSON object as the schema says. It says no also where it does not look closely: at
// names with escapes.
func (q *quickBody) good(text []byte) bool {
	d := scanners.Get().(*jsontext.Decoder)
	defer scanners.Put(d)
	d.Reset(bytes.NewBuffer(text))
	if token, err := d.ReadToken(); err != nil || token.Kind() != '{' {
		return false
	}
	var members uint64
	missing := len(q.required)
	for ; d.PeekKind() == '"'; members++ {
		name, err := d.ReadValue()
		if err != nil {
			return false
		}
		property, known := q.properties[string(name[1:len(name)-1])] // without its quotes
		if slices.ContainsFunc(q.required, func(r string) bool { return r == string(name[1:len(name)-1]) }) {
			missing--
		}
		if value, err := d.ReadValue(); err != nil || !known || !property.good(value) {
			return false
		}
	}
	if token, err := d.ReadToken(); err != nil || token.Kind() != '}' || missing > 0 || members < q.least {
		return false
	}
	_, err := d.ReadToken()
	return errors.Is(err, io.EOF)
}

func (p quickProperty) good(value jsontext.Value) bool {
	switch value.Kind() {
	case 'n':
		return p.nullable
	case 't', 'f':
		return p.text == nil
	case '"':
		if p.text == nil {
			return false
		}
		text, err := jsontext.AppendUnquote(nil, value)
		return err == nil && p.text(string(text))
	}
	return false
}
