package encode_test

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"docket/internal/api"
	"docket/internal/encode"
	"docket/internal/rfc3339"
)

// everything has a field of each kind that a response can have, and of some that none has.
type everything struct {
	Task       api.Task           `json:"task"`
	Tasks      []api.Task         `json:"tasks"`
	Nested     *everything        `json:"nested,omitempty"`
	Priority   api.Priority       `json:"priority"`
	Text       *string            `json:"text"`
	Maybe      *string            `json:"maybe,omitempty"`
	Texts      []string           `json:"texts,omitempty"`
	Pointers   []*int64           `json:"pointers"`
	Bool       bool               `json:"bool,omitempty"`
	Int        int64              `json:"int"`
	Small      int8               `json:"small,omitempty"`
	Unsigned   uint32             `json:"unsigned"`
	Float      float64            `json:"float"`
	Bytes      []byte             `json:"bytes"`
	Array      [2]string          `json:"array"`
	Map        map[string]float64 `json:"map"`
	Any        any                `json:"any"`
	Time       rfc3339.Time       `json:"time"`
	TimeOrNull *rfc3339.Time      `json:"time_or_null"`
	Standard   time.Time          `json:"standard"`
	Raw        json.RawMessage    `json:"raw"`
	Pointed    pointed            `json:"pointed"`
	Empty      struct{}           `json:"empty"`
	AllEmpty   struct {
		A string `json:"a,omitempty"`
		B []int  `json:"b,omitempty"`
	} `json:"all_empty"`
	NoTag   string
	Left    string `json:"-"`
	Dash    string `json:"-,"` //nolint:staticcheck // a name that encoding/json knows
	Strange struct {
		A int `json:"a<b"`
	} `json:"strange"`
	Quoted struct {
		A int `json:"a,string"`
	} `json:"quoted"`
	Zero struct {
		A int `json:"a,omitzero"`
	} `json:"zero"`
	Embedded struct {
		api.Task
		Total int
	} `json:"embedded"`
	private int
}

// pointed has its method on the pointer.
type pointed struct{ text string }

func (p *pointed) MarshalJSON() ([]byte, error) { return json.Marshal("pointed " + p.text) }

// same fails the test unless Append returns the same as encoding/json.
func same(t *testing.T, v any) {
	t.Helper()
	want, wantErr := json.Marshal(v)
	got, err := encode.Append([]byte("x"), v, nil)
	if (err != nil) != (wantErr != nil) || err == nil && string(got) != "x"+string(want) {
		t.Errorf("%T: got  %s, %v\nwant %s, %v", v, got, err, want, wantErr)
	}
}

// FuzzAppendIsEncodingJSON compares every kind of field with encoding/json, in values and behind pointers.
func FuzzAppendIsEncodingJSON(f *testing.F) {
	f.Add("Buy oat milk", "", true, int64(0), 1.5)
	f.Add("<script>&\u2028\u2029\x7f é 👩‍🚀 \"\\/\n\t\x00", "e\u0301", false, int64(1_772_000_000_123_456), math.Copysign(0, -1))
	f.Add("\xff\xfe broken \xed\xa0\x80", "~", true, int64(-62_135_596_800_000_000), 1e300)
	f.Add("\u2028", "'", true, int64(1<<53), 0.1)
	f.Fuzz(func(t *testing.T, text, other string, yes bool, n int64, float float64) {
		if math.IsNaN(float) || math.IsInf(float, 0) {
			float = 0 // see TestAValueWithoutJSONIsAnError
		}
		at := rfc3339.Time(time.UnixMicro(n % 253_402_300_799_000_000))
		task := api.Task{
			ID: other, UserID: text, Title: text + other, Description: &other, Priority: api.Priority(text), Completed: yes, CreatedAt: at, UpdatedAt: at,
		}
		v := everything{
			Task: task, Priority: api.Priority(other), Int: n, Small: int8(n), Unsigned: uint32(n), Float: float, Bool: yes, Time: at,
			Any: text, NoTag: other, Left: text, Dash: text, Pointed: pointed{text}, private: 1,
		}
		v.Embedded.Task = task
		if yes {
			v.Text, v.Maybe, v.Texts = &text, &other, []string{text, other}
			v.Pointers, v.Bytes, v.Map = []*int64{&n, nil}, []byte(text), map[string]float64{text: float, other: 1}
			v.Tasks = []api.Task{task, {}}
			v.Raw, v.TimeOrNull, v.Any = json.RawMessage(`{"a": [1, "<"]}`), &at, []any{text, n, nil, task}
			v.AllEmpty.B = []int{1, 2}
			inner := v
			v.Nested = &inner
		}
		for _, value := range []any{v, &v, task, &task, []api.Task{task}, &[]*api.Task{&task, nil}, text, &text, n, yes, at, &at, nil, (*api.Task)(nil), []string(nil), pointed{text}, &pointed{other}} {
			same(t, value)
		}
	})
}

// All responses in the document consist of generated types. Every one of those must be tested.
func TestEveryResponseOfTheDocumentIsEncodedAsByEncodingJSON(t *testing.T) {
	t.Parallel()
	text := "a < b"
	at := rfc3339.Time(time.Now())
	for _, v := range []any{
		api.Health{Status: api.Healthy, Version: text, Timestamp: at},
		api.Readiness{Status: api.Ready, Checks: api.Checks{Database: text}},
		api.Problem{Detail: text, Status: 400, Errors: []api.Fault{{Pointer: &text, Detail: text}, {}}},
		api.TaskList{Tasks: []api.Task{{ID: text, Description: &text, CreatedAt: at}, {}}, NextCursor: &text, Limit: 1, Total: math.MaxInt64},
		api.TaskList{Tasks: []api.Task{}},
		api.TaskList{},
	} {
		same(t, v)
		pointer := reflect.New(reflect.TypeOf(v))
		pointer.Elem().Set(reflect.ValueOf(v))
		same(t, pointer.Interface())
	}
}

func TestQuotesAreEscapedAsByEncodingJSON(t *testing.T) {
	t.Parallel()
	parts := []string{`"`, `\`, "a", "é", "<", "\n", "\u2028", "\xff"}
	for i := range len(parts) * len(parts) * len(parts) {
		n := len(parts)
		same(t, parts[i%n]+parts[i/n%n]+parts[i/n/n])
		same(t, "tag "+parts[i%n]+parts[i%n]+"b"+parts[i/n%n]+"c"+parts[i/n/n])
	}
}

func TestAValueWithoutJSONIsAnError(t *testing.T) {
	t.Parallel()
	for _, v := range []any{math.NaN(), struct{ F float64 }{math.Inf(1)}, []any{make(chan int)}, struct{ F func() }{}} {
		same(t, v)
	}
}

func TestALongListIsFlushedElementByElement(t *testing.T) {
	t.Parallel()
	list := api.TaskList{Tasks: make([]api.Task, 500), Total: 500}
	for i := range list.Tasks {
		list.Tasks[i].Title = strings.Repeat("<", 200)
	}
	want, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	const limit = 4 << 10
	var sent []byte
	most := 0
	rest, err := encode.Append(nil, &list, func(b []byte) []byte {
		if most = max(most, len(b)); len(b) < limit {
			return b
		}
		sent = append(sent, b...)
		return b[:0]
	})
	if sent = append(sent, rest...); err != nil || string(sent) != string(want) {
		t.Errorf("%d bytes, %v; want %d", len(sent), err, len(want))
	}
	if most > limit+2<<10 {
		t.Errorf("%d bytes were in memory at once", most)
	}
}

func TestEncodingAListAllocatesNothing(t *testing.T) { //nolint:paralleltest // it counts allocations
	text := "Figures from the finance team are due on Thursday."
	list := api.TaskList{Tasks: make([]api.Task, 20)}
	for i := range list.Tasks {
		list.Tasks[i] = api.Task{Title: text, Description: &text, CreatedAt: rfc3339.Time(time.Now()), Etag: `"2.1773043200000000"`}
	}
	buffer := make([]byte, 0, 16<<10)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := encode.Append(buffer, &list, nil); err != nil {
			t.Error(err)
		}
	}); n > 1 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkList(b *testing.B) {
	text := "Figures from the finance team are due on Thursday."
	list := api.TaskList{Tasks: make([]api.Task, 20), Total: 100, Limit: 20}
	for i := range list.Tasks {
		list.Tasks[i] = api.Task{
			ID: "8f14e45f-ceea-467f-a0e6-1c2d3b4a5f60", UserID: "yJ3kQ8vLw2Rt6ZpNc9XbHs5MfGd1TaEu", Title: "Prepare the quarterly report",
			Description: &text, Priority: "high", CreatedAt: rfc3339.Time(time.Now()), UpdatedAt: rfc3339.Time(time.Now()),
			Revision: 1773043200000000, Etag: `"2.1773043200000000"`,
		}
	}
	b.Run("encode", func(b *testing.B) {
		buffer := make([]byte, 0, 16<<10)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := encode.Append(buffer, &list, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := json.Marshal(&list); err != nil {
				b.Fatal(err)
			}
		}
	})
}
