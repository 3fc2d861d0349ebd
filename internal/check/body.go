package check

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"docket/internal/api"
	"docket/internal/problem"
)

// bodySchema is the schema of a request body. Its members are fields for the handler, except those that the document
// marks. A client may send those so that it can change what it has read and send it back. check handles them, and the
// handler does not see them.
//
//	readOnly: true         # set by the service: any value is ignored
//	x-equals: task_id      # must equal this path parameter
//	x-condition: If-Match  # an entity tag that is used as if it were sent in this header; without the header like readOnly
type bodySchema struct {
	*openapi3.Schema
	fields []string // sorted
	marked []marked // sorted by name
}

// marked is a member that is no field. Without equals and condition it is ignored.
type marked struct{ name, equals, condition string }

// compileSchema returns an error if a mark refers to a parameter that the operation does not have.
func (op *Operation) compileSchema(def *openapi3.Schema) (*bodySchema, error) {
	s := &bodySchema{Schema: def}
	for _, name := range sortedKeys(def.Properties) {
		member := def.Properties[name].Value
		m := marked{name: name}
		m.equals, _ = member.Extensions["x-equals"].(string)
		m.condition, _ = member.Extensions["x-condition"].(string)
		is := func(p *parameter) bool { return p.name == m.equals || p.name == m.condition }
		switch {
		case m.equals == "" && m.condition == "" && !member.ReadOnly:
			s.fields = append(s.fields, name)
			continue
		case m.equals == ownerParameter && op.Owned:
		case m.equals != "" && !slices.ContainsFunc(op.paths, is):
			return nil, fmt.Errorf("x-equals: the path has no %s", m.equals)
		case m.condition != "" && !lists[m.condition]:
			return nil, fmt.Errorf("x-condition: %s is no header with entity tags", m.condition)
		case m.condition != "" && !slices.ContainsFunc(op.headers, is):
			m.condition = "" // ignored
		}
		s.marked = append(s.marked, m)
	}
	return s, nil
}

// check checks a body and returns it without the members that are no fields. All faults of the body are reported
// together.
func (s *bodySchema) check(r *http.Request, raw []byte) ([]byte, error) {
	value, err := parseJSON(raw)
	if err != nil {
		return nil, err
	}
	object, isObject := value.(map[string]any)
	marked, conditions := 0, 0
	var faults []api.Fault
	for _, m := range s.marked {
		value, sent := object[m.name]
		if !sent {
			continue
		}
		marked++
		if m.condition != "" {
			conditions++ // the schema says what an entity tag is
			continue
		}
		if m.equals != "" && value != r.PathValue(m.equals) {
			faults = append(faults, problem.Body("#/"+m.name, problem.FaultConflict, "must be the same as in the path"))
		}
		delete(object, m.name)
	}
	s.dropUnknown(object)
	faults = append(faults, s.faults(value)...)
	switch {
	case len(faults) > 0:
		return nil, &problem.Problem{Type: problem.ValidationFailed, Detail: problem.Summary(faults), Faults: faults}
	case isObject && len(object) == conditions && s.MinProps > 0:
		return nil, s.noChanges()
	case marked == 0:
		return raw, nil
	}
	for _, m := range s.marked {
		if tag, sent := object[m.name].(string); sent {
			if err := addCondition(r.Header, m.condition, tag); err != nil {
				return nil, err
			}
		}
	}
	return s.withoutMarked(raw)
}

func (s *bodySchema) noChanges() error {
	return &problem.Problem{
		Type:   problem.NoChanges,
		Detail: "Send at least one field to change: " + joined(s.fields, "or") + ".",
		Faults: []api.Fault{problem.Body("#", problem.FaultRequired, "must have at least one field to change")},
	}
}

// entityTag is one entity tag of a header that has been checked.
var entityTag = regexp.MustCompile(`(W/)?"[^"]*"`)

// addCondition puts an entity tag into a header, which must have it or be * if it was sent.
func addCondition(h http.Header, header, tag string) error {
	if sent := h.Get(header); sent != "" && sent != "*" && !slices.Contains(entityTag.FindAllString(sent, -1), tag) {
		return problem.InvalidParameters(problem.Header(header, problem.FaultConflict, "must be * or contain the etag of the body"))
	}
	h.Set(header, tag)
	return nil
}

// withoutMarked returns a body without the members that are no fields.
func (s *bodySchema) withoutMarked(raw []byte) ([]byte, error) {
	var members map[string]jsontext.Value
	if err := json.Unmarshal(raw, &members); err != nil {
		return nil, err
	}
	for _, m := range s.marked {
		delete(members, m.name)
	}
	return json.Marshal(members)
}
