package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/go-json-experiment/json/jsontext"

	"docket/internal/api"
)

// maxDepth of nested arrays and objects. The contract's deepest request has one level.
const maxDepth = 32

// parseJSON reads one JSON value in UTF-8 and nothing after it, into the types of encoding/json. It refuses what that
// package lets pass, since it would change or lose what the user wrote: invalid UTF-8 and lone surrogates, a name that
// stands twice in an object, a second value after the first (RFC 8259; RFC 7493, section 2). Every error is a
// *problem.
func parseJSON(body []byte) (any, error) {
	if bytes.HasPrefix(body, []byte("\xef\xbb\xbf")) {
		return nil, malformed("starts with a byte order mark, which JSON must not (RFC 8259, section 8.1)")
	}
	d := jsontext.NewDecoder(bytes.NewReader(body))
	value, err := decodeValue(d)
	if err == nil {
		if _, err = d.ReadToken(); errors.Is(err, io.EOF) {
			return value, nil
		} else if err == nil {
			err = errTrailing
		}
	}
	var syntax *jsontext.SyntacticError
	switch {
	case errors.Is(err, errTooDeep):
		return nil, malformed(fmt.Sprintf("is nested deeper than %d levels", maxDepth))
	case errors.Is(err, errTrailing):
		return nil, malformed(fmt.Sprintf("has something after its JSON value, before byte %d", d.InputOffset()))
	case errors.Is(err, jsontext.ErrDuplicateName):
		if errors.As(err, &syntax) {
			return nil, malformed(fmt.Sprintf("has the name %q twice in one object", clip(syntax.JSONPointer.LastToken(), 64)))
		}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, malformed(fmt.Sprintf("is not valid JSON: it ends early, at byte %d", len(body)))
	case errors.As(err, &syntax):
		return nil, malformed(fmt.Sprintf("is not valid JSON in UTF-8: %s at byte %d", clip(syntax.Err.Error(), 200), syntax.ByteOffset))
	}
	return nil, malformed("is not valid JSON")
}

var (
	errTooDeep  = errors.New("nested too deep")
	errTrailing = errors.New("trailing data")
)

func malformed(detail string) *problem {
	faults := []api.Fault{bodyFault("#", detail)}
	return &problem{kind: malformedJSON, detail: summary(faults) + ".", errors: faults}
}

func decodeValue(d *jsontext.Decoder) (any, error) {
	token, err := d.ReadToken()
	if err != nil {
		return nil, err
	}
	switch token.Kind() {
	case 't', 'f':
		return token.Bool(), nil
	case '"':
		return token.String(), nil
	case '0':
		number, _ := token.Float()
		// Out of range is the largest number, which breaks every limit there is; infinity would be no JSON value.
		return max(-math.MaxFloat64, min(number, math.MaxFloat64)), nil
	case '{':
		return decodeObject(d)
	case '[':
		return decodeArray(d)
	}
	return nil, nil
}

func decodeObject(d *jsontext.Decoder) (any, error) {
	if d.StackDepth() > maxDepth {
		return nil, errTooDeep
	}
	object := map[string]any{}
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, err
		}
		key := name.String() // before the next call to d takes its memory
		if object[key], err = decodeValue(d); err != nil {
			return nil, err
		}
	}
	_, err := d.ReadToken()
	return object, err
}

func decodeArray(d *jsontext.Decoder) (any, error) {
	if d.StackDepth() > maxDepth {
		return nil, errTooDeep
	}
	array := []any{}
	for d.PeekKind() != ']' {
		value, err := decodeValue(d)
		if err != nil {
			return nil, err
		}
		array = append(array, value)
	}
	_, err := d.ReadToken()
	return array, err
}
