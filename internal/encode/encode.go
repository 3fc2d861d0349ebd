// Package encode writes Go values as JSON: byte for byte what encoding/json writes, in a fraction of its time. It reads
// a type's fields once, by reflection, and needs no change for a new field.
package encode

import (
	"encoding"
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"docket/internal/rfc3339"
)

// plain turns the fast path off, for comparison: encoding/json then encodes everything. The linker sets it, with
// -ldflags '-X docket/internal/encode.plain=1'.
var plain string

// Append appends the JSON of v to b. It returns encoding/json's error for a value that has no JSON.
//
// flush, if not nil, is called after each element of an array with everything appended so far, and returns the buffer
// to continue with, so that a long list can be sent while it is encoded.
func Append(b []byte, v any, flush func(b []byte) []byte) ([]byte, error) {
	if plain != "" || v == nil {
		text, err := json.Marshal(v)
		return append(b, text...), err
	}
	value := reflect.ValueOf(v)
	appendValue, known := encoders.Load(value.Type())
	if !known {
		appendValue, _ = encoders.LoadOrStore(value.Type(), compile(value.Type(), nil))
	}
	e := &state{b: b, flush: flush}
	appendValue.(encoder)(e, value)
	return e.b, e.err
}

// state is the state of one call of Append.
type state struct {
	b     []byte
	flush func([]byte) []byte
	err   error // the first one
}

// encoder appends a value of the type that it was made for.
type encoder func(e *state, v reflect.Value)

var (
	encoders sync.Map // reflect.Type → encoder

	timestamp  = reflect.TypeFor[rfc3339.Time]()
	marshalers = []reflect.Type{reflect.TypeFor[json.Marshaler](), reflect.TypeFor[encoding.TextMarshaler]()}
)

// compile returns the encoder of a type. within contains the types that it is part of. Types that compile does not
// know, and those that contain themselves, are left to encoding/json.
func compile(t reflect.Type, within []reflect.Type) encoder {
	switch t {
	case timestamp:
		return appendTime
	case reflect.PointerTo(timestamp): // which marshals itself as well
		return orNull(func(e *state, v reflect.Value) { appendTime(e, v.Elem()) })
	}
	marshals := func(m reflect.Type) bool { return t.Implements(m) || reflect.PointerTo(t).Implements(m) }
	if slices.Contains(within, t) || slices.ContainsFunc(marshalers, marshals) {
		return appendAny
	}
	within = append(within, t)
	switch t.Kind() {
	case reflect.String:
		return func(e *state, v reflect.Value) { e.b = appendString(e.b, v.String()) }
	case reflect.Bool:
		return func(e *state, v reflect.Value) { e.b = strconv.AppendBool(e.b, v.Bool()) }
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return func(e *state, v reflect.Value) { e.b = strconv.AppendInt(e.b, v.Int(), 10) }
	case reflect.Pointer:
		elem := compile(t.Elem(), within)
		return orNull(func(e *state, v reflect.Value) { elem(e, v.Elem()) })
	case reflect.Slice:
		if t.Elem().Kind() != reflect.Uint8 { // bytes are written in base64
			return compileSlice(compile(t.Elem(), within))
		}
	case reflect.Struct:
		return compileStruct(t, within)
	}
	return appendAny
}

func orNull(appendValue encoder) encoder {
	return func(e *state, v reflect.Value) {
		if v.IsNil() {
			e.b = append(e.b, "null"...)
			return
		}
		appendValue(e, v)
	}
}

func compileSlice(elem encoder) encoder {
	return orNull(func(e *state, v reflect.Value) {
		e.b = append(e.b, '[')
		for i := range v.Len() {
			if i > 0 {
				e.b = append(e.b, ',')
			}
			elem(e, v.Index(i))
			if e.flush != nil {
				e.b = e.flush(e.b)
			}
		}
		e.b = append(e.b, ']')
	})
}

// field is a member of an object.
type field struct {
	index       int
	key         string // with its quotes and colon
	omitEmpty   bool
	appendValue encoder
}

func compileStruct(t reflect.Type, within []reflect.Type) encoder {
	var fields []field
	var names []string
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.IsExported() && f.Tag.Get("json") == "-" || !f.IsExported() && !f.Anonymous {
			continue
		}
		if name == "" {
			name = f.Name
		}
		if f.Anonymous || options != "" && options != "omitempty" || slices.Contains(names, name) || strings.Trim(name, letters) != "" {
			return appendAny // its encoding rules are not implemented here
		}
		names = append(names, name)
		fields = append(fields, field{i, `"` + name + `":`, options == "omitempty", compile(f.Type, within)})
	}
	return func(e *state, v reflect.Value) {
		separator := byte('{')
		for i := range fields {
			f := &fields[i]
			member := v.Field(f.index)
			if f.omitEmpty && empty(member) {
				continue
			}
			e.b = append(append(e.b, separator), f.key...)
			separator = ','
			f.appendValue(e, member)
		}
		if separator == '{' {
			e.b = append(e.b, separator)
		}
		e.b = append(e.b, '}')
	}
}

// letters are the characters of a member's name that needs no escape.
const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"

// empty reports whether omitempty leaves the value out.
func empty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Array, reflect.Map, reflect.Slice, reflect.String:
		return v.Len() == 0
	}
	return v.Kind() != reflect.Struct && v.IsZero()
}

// appendAny leaves the value to encoding/json.
func appendAny(e *state, v reflect.Value) {
	if v.CanAddr() {
		v = v.Addr() // for methods of the pointer
	}
	text, err := json.Marshal(v.Interface())
	if e.err == nil {
		e.err = err
	}
	e.b = append(e.b, text...)
}

func appendTime(e *state, v reflect.Value) {
	var t rfc3339.Time
	if v.CanAddr() {
		t = *v.Addr().Interface().(*rfc3339.Time) // v.Interface would allocate
	} else {
		t = v.Interface().(rfc3339.Time)
	}
	e.b = append(rfc3339.Append(append(e.b, '"'), t), '"')
}

// appendString escapes quotes and backslashes, as in entity tags. It leaves a string that needs another escape, or is not
// UTF-8, to encoding/json.
func appendString(b []byte, s string) []byte {
	start, done := len(b), 0
	b = append(b, '"')
	for i := range len(s) {
		switch {
		case verbatim[s[i]]:
		case s[i] == '"' || s[i] == '\\':
			b = append(append(b, s[done:i]...), '\\')
			done = i
		case s[i] < utf8.RuneSelf || !verbatimUTF8(s[i:]):
			return appendEscaped(b[:start], s)
		default: // nothing in the rest needs an escape
			return append(append(b, s[done:]...), '"')
		}
	}
	return append(append(b, s[done:]...), '"')
}

func appendEscaped(b []byte, s string) []byte {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string: cannot fail
	}
	return append(b, text...)
}

// verbatimUTF8 reports whether a string is UTF-8 that needs no escape.
func verbatimUTF8(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return r < utf8.RuneSelf && !verbatim[r] || r == '\u2028' || r == '\u2029'
	})
}

// verbatim are the ASCII characters that encoding/json does not escape.
var verbatim = func() (set [256]bool) {
	for c := range utf8.RuneSelf {
		set[c] = c >= ' ' && strings.IndexByte(`"\<>&`, byte(c)) < 0
	}
	return set
}()
