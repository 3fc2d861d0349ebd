package check

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"docket/internal/api"
	"docket/internal/problem"
)

// maxDepth is how deep arrays and objects may be nested. The document's deepest request has one level.
const maxDepth = 32

var (
	errTooDeep  = errors.New("nested too deep")
	errTrailing = errors.New("trailing data")
)

// limits adds limits to those of the library.
var limits = json.WithUnmarshalers(json.UnmarshalFromFunc(func(d *jsontext.Decoder, v *any) error {
	switch kind := d.PeekKind(); {
	case kind == '0':
		token, err := d.ReadToken()
		if err != nil {
			return err
		}
		number, _ := token.Float()
		// A number that is out of range becomes the largest one, which exceeds every limit. Infinity is not a JSON
		// value.
		*v = max(-math.MaxFloat64, min(number, math.MaxFloat64))
		return nil
	case (kind == '{' || kind == '[') && d.StackDepth() >= maxDepth:
		return errTooDeep
	}
	return errors.ErrUnsupported
}))

// parseJSON reads one JSON value in UTF-8 and nothing after it, into the types of encoding/json. It refuses what that
// package accepts although it changes or loses what the user wrote: invalid UTF-8 and lone surrogates, a repeated name
// in an object, a second value after the first (RFC 8259; RFC 7493, section 2). Every error is a *problem.Problem.
func parseJSON(body []byte) (any, error) {
	if bytes.HasPrefix(body, []byte("\xef\xbb\xbf")) {
		return nil, malformed("starts with a byte order mark, which JSON must not (RFC 8259, section 8.1)")
	}
	d := jsontext.NewDecoder(bytes.NewReader(body))
	var value any
	err := json.UnmarshalDecode(d, &value, limits)
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
			return nil, malformedBy(problem.FaultRepeated,
				fmt.Sprintf("has the name %q twice in one object", problem.Clip(syntax.JSONPointer.LastToken(), 64)))
		}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, malformed(fmt.Sprintf("is not valid JSON: it ends early, at byte %d", len(body)))
	case errors.As(err, &syntax):
		return nil, malformed(fmt.Sprintf("is not valid JSON in UTF-8: %s at byte %d", problem.Clip(syntax.Err.Error(), 200), syntax.ByteOffset))
	}
	return nil, malformed("is not valid JSON")
}

func malformed(must string) *problem.Problem { return malformedBy(problem.FaultInvalidFormat, must) }

func malformedBy(code, must string) *problem.Problem {
	faults := []api.Fault{problem.Body("#", code, must)}
	return &problem.Problem{Type: problem.MalformedJSON, Detail: problem.Summary(faults), Faults: faults}
}
