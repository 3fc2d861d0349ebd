package alerts_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/template"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

// interval is the time between two scrapes, and between two evaluations of the rules, as prometheus.yaml has it.
const interval = 15 * time.Second

// sample is a value of a series. A cumulative one belongs to a counter or to a histogram.
type sample struct {
	labels     labels.Labels
	value      float64
	cumulative bool
}

// scrape is what one scrape yields, by the text of the labels.
type scrape map[string]sample

func (s scrape) set(l labels.Labels, v float64, cumulative bool) {
	s[l.String()] = sample{l, v, cumulative}
}

// failedScrape is what Prometheus stores when it cannot scrape a process.
func failedScrape() scrape {
	s := scrape{}
	s.set(labels.FromStrings(model.MetricNameLabel, "up", "job", "docket", "instance", "docket-1"), 0, false)
	return s
}

// parse returns the samples of a page, with the labels of their target.
func parse(t testing.TB, page string) scrape {
	t.Helper()
	s := failedScrape()
	for key, up := range s {
		s[key] = sample{up.labels, 1, false}
	}
	types := map[string]model.MetricType{}
	for p := textparse.NewPromParser([]byte(page), labels.NewSymbolTable(), false); ; {
		entry, err := p.Next()
		if errors.Is(err, io.EOF) {
			return s
		}
		check(t, err)
		switch entry {
		case textparse.EntryType:
			name, typ := p.Type()
			types[string(name)] = typ
		case textparse.EntrySeries:
			var l labels.Labels
			p.Labels(&l)
			_, _, v := p.Series()
			l = labels.NewBuilder(l).Set("job", "docket").Set("instance", "docket-1").Labels()
			s.set(l, v, cumulative(types, l.Get(model.MetricNameLabel)))
		}
	}
}

func cumulative(types map[string]model.MetricType, name string) bool {
	switch types[name] {
	case model.MetricTypeCounter:
		return true
	case model.MetricTypeSummary, model.MetricTypeGauge:
		return false
	}
	for _, suffix := range []string{"_bucket", "_count", "_sum"} {
		if base, found := strings.CutSuffix(name, suffix); found {
			return types[base] == model.MetricTypeHistogram || types[base] == model.MetricTypeSummary
		}
	}
	return false
}

// value returns the value of a series, such as `docket_ready{check="keys"}`. There is none if ok is false.
func (s scrape) value(series string) (v float64, ok bool) {
	selectors, err := parser.NewParser(parser.Options{}).ParseMetricSelector(series)
	if err != nil {
		panic(err)
	}
	for _, one := range s {
		if !slices.ContainsFunc(selectors, func(m *labels.Matcher) bool { return !m.Matches(one.labels.Get(m.Name)) }) {
			return one.value, true
		}
	}
	return 0, false
}

// after returns the scrape that would follow if what happened between the two went on: counters grow by as much again, and
// everything else stays.
func after(previous, last scrape) scrape {
	next := maps.Clone(last)
	for key, s := range last {
		if s.cumulative {
			s.value += s.value - previous[key].value
			next[key] = s
		}
	}
	return next
}

// prometheus stores scrapes and evaluates rules, as the program does.
type prometheus struct {
	engine *promql.Engine
	rules  []rulefmt.Rule
	names  map[string][]*series // the series by name, for each name that the rules use
	series map[string]*series   // by the text of their labels
	last   scrape
	now    time.Time
	active map[string]time.Time // since when an alert is pending or firing
	fired  map[string]string    // the summaries of the alerts that have fired, by name
}

type series struct {
	labels  labels.Labels
	samples []chunks.Sample
}

// newPrometheus returns one with the rules of this repository. Its clock begins at the given time.
func newPrometheus(t testing.TB, now time.Time) *prometheus {
	t.Helper()
	p := &prometheus{
		engine: promql.NewEngine(promql.EngineOpts{
			MaxSamples: 50_000_000, Timeout: 5 * time.Minute, LookbackDelta: 5 * time.Minute, Parser: parser.NewParser(parser.Options{}),
		}),
		names: map[string][]*series{}, series: map[string]*series{}, now: now, active: map[string]time.Time{}, fired: map[string]string{},
	}
	t.Cleanup(func() { check(t, p.engine.Close()) })
	for _, group := range readRules(t).Groups {
		p.rules = append(p.rules, group.Rules...)
		for _, rule := range group.Rules {
			for _, name := range metricsIn(t, rule.Expr) {
				p.names[name] = nil
			}
		}
	}
	return p
}

// step stores a scrape and evaluates the rules, an interval after the step before.
func (p *prometheus) step(t testing.TB, s scrape) {
	t.Helper()
	p.now = p.now.Add(interval)
	for key, one := range s {
		p.add(key, one.labels, one.value)
	}
	for key, gone := range p.last {
		if _, there := s[key]; !there {
			p.add(key, gone.labels, math.Float64frombits(value.StaleNaN))
		}
	}
	p.last = s
	p.evaluate(t)
}

// add stores a value, unless no rule uses the metric.
func (p *prometheus) add(key string, l labels.Labels, v float64) {
	name := l.Get(model.MetricNameLabel)
	if _, used := p.names[name]; !used {
		return
	}
	if p.series[key] == nil {
		p.series[key] = &series{labels: l}
		p.names[name] = append(p.names[name], p.series[key])
	}
	p.series[key].samples = append(p.series[key].samples, point{p.now.UnixMilli(), v})
}

// evaluate evaluates the rules in their order. An alert fires when its expression has had a result with the same labels
// for as long as its rule says.
func (p *prometheus) evaluate(t testing.TB) {
	t.Helper()
	active := map[string]time.Time{}
	for i, rule := range p.rules {
		for _, result := range p.query(t, rule.Expr) {
			l := labels.NewBuilder(result.Metric).Del(model.MetricNameLabel).Labels()
			if rule.Record != "" {
				l = labels.NewBuilder(l).Set(model.MetricNameLabel, rule.Record).Labels()
				p.add(l.String(), l, result.F)
				continue
			}
			key := string(rune(i)) + l.String()
			since, pending := p.active[key]
			if !pending {
				since = p.now
			}
			active[key] = since
			if p.now.Sub(since) >= time.Duration(rule.For) {
				p.fired[rule.Alert] = p.expand(t, rule.Annotations["summary"], l, result)
				p.expand(t, rule.Annotations["description"], l, result)
			}
		}
	}
	p.active = active
}

func (p *prometheus) query(t testing.TB, expression string) promql.Vector {
	t.Helper()
	q, err := p.engine.NewInstantQuery(t.Context(), p, nil, expression, p.now)
	check(t, err)
	defer q.Close()
	vector, err := q.Exec(t.Context()).Vector()
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return slices.Clone(vector)
}

// expand returns the text of an annotation.
func (p *prometheus) expand(t testing.TB, text string, l labels.Labels, result promql.Sample) string {
	t.Helper()
	data := template.AlertTemplateData(l.Map(), nil, "", result)
	const variables = "{{$labels := .Labels}}{{$value := .Value}}"
	expanded, err := template.NewTemplateExpander(t.Context(), variables+text, "", data, model.TimeFromUnixNano(p.now.UnixNano()), nil, nil, nil).Expand()
	check(t, err)
	if strings.Contains(expanded, "<no value>") {
		t.Errorf("%s becomes %s", text, expanded)
	}
	return expanded
}

// point implements chunks.Sample for a float.
type point struct {
	ms    int64
	float float64
}

func (p point) T() int64                    { return p.ms }
func (point) ST() int64                     { return 0 }
func (p point) F() float64                  { return p.float }
func (point) H() *histogram.Histogram       { panic("a float") }
func (point) FH() *histogram.FloatHistogram { panic("a float") }
func (point) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (p point) Copy() chunks.Sample         { return p }

// Querier implements storage.Queryable.
func (p *prometheus) Querier(from, to int64) (storage.Querier, error) {
	return querier{p, from, to}, nil
}

// querier implements storage.Querier for a selector with a name, which all rules have.
type querier struct {
	*prometheus
	from, to int64
}

func (q querier) Select(_ context.Context, _ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	name := matchers[slices.IndexFunc(matchers, func(m *labels.Matcher) bool { return m.Name == model.MetricNameLabel })].Value
	found := &seriesSet{at: -1}
	for _, s := range q.names[name] {
		if slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(s.labels.Get(m.Name)) }) {
			continue
		}
		in := slices.DeleteFunc(slices.Clone(s.samples), func(one chunks.Sample) bool { return one.T() < q.from || one.T() > q.to })
		if len(in) > 0 {
			found.all = append(found.all, storage.NewListSeries(s.labels, in))
		}
	}
	return found
}

func (q querier) LabelValues(context.Context, string, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	panic("no rule asks for the values of a label")
}

func (q querier) LabelNames(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	panic("no rule asks for the names of labels")
}

func (q querier) Close() error { return nil }

type seriesSet struct {
	all []storage.Series
	at  int
}

func (s *seriesSet) Next() bool                        { s.at++; return s.at < len(s.all) }
func (s *seriesSet) At() storage.Series                { return s.all[s.at] }
func (s *seriesSet) Err() error                        { return nil }
func (s *seriesSet) Warnings() annotations.Annotations { return nil }
