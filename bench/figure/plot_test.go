package figure_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"docket/bench/figure"
)

func TestAPlotIsXMLWhateverTheLabelsSay(t *testing.T) {
	t.Parallel()
	const evil = `</text><script>alert("1")</script> & 'more' <`
	number := func(v float64) string { return fmt.Sprintf("<%g>", v) }
	svg := figure.Plot{
		Title: evil,
		Rows:  [][]figure.Bars{{{Title: evil, Bars: []figure.Bar{{Label: evil, Parts: []float64{1, 2}, Text: evil, Ours: true}, {}}}}, {{}}},
		Lines: [][]figure.Lines{{
			{Title: evil, X: number, Y: number, Lines: []figure.Line{{evil, []float64{1, 100}, []float64{5, 5}}, {}}},
			{Title: "empty"},
		}},
	}.SVG()
	texts := 0
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, svg)
		}
		switch token := token.(type) {
		case xml.StartElement:
			if token.Name.Local == "script" {
				t.Error("a label became an element")
			}
		case xml.CharData:
			if string(token) == evil {
				texts++
			}
		}
	}
	if texts != 6 {
		t.Errorf("%d of 6 labels can be read", texts)
	}
	if strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") {
		t.Errorf("a place is no number:\n%s", svg)
	}
}

func TestLabelsAtTheEndsOfLinesDoNotCoverEachOther(t *testing.T) {
	t.Parallel()
	flat := []figure.Line{}
	for i := range 4 {
		flat = append(flat, figure.Line{Label: fmt.Sprint("line ", i), X: []float64{1, 10}, Y: []float64{5, 5}})
	}
	number := func(v float64) string { return fmt.Sprint(v) }
	svg := figure.Plot{Lines: [][]figure.Lines{{{Lines: flat, X: number, Y: number}}}}.SVG()
	seen := map[string]bool{}
	for line := range strings.Lines(svg) {
		if _, rest, found := strings.Cut(line, `<text x="`); found && strings.Contains(rest, ">line ") {
			place, _, _ := strings.Cut(rest, ` style`)
			if seen[place] {
				t.Errorf("two labels are at %s", place)
			}
			seen[place] = true
		}
	}
	if len(seen) != 4 {
		t.Errorf("found %d labels", len(seen))
	}
}
