package alerts_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

const (
	root          = "../../"
	rulesFile     = root + "deploy/prometheus/docket.rules.yaml"
	configFile    = root + "deploy/prometheus/prometheus.yaml"
	dashboardFile = root + "deploy/grafana/docket.json"
	runbookFile   = root + "docs/operations.md"
)

// readRules returns the rules, which must be strictly what Prometheus knows.
func readRules(t testing.TB) *rulefmt.RuleGroups {
	t.Helper()
	groups, faults := rulefmt.ParseFile(rulesFile, false, model.LegacyValidation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	for _, fault := range faults {
		t.Error(fault)
	}
	if groups == nil {
		t.FailNow()
	}
	return groups
}

// metricsIn returns the names of the metrics in an expression.
func metricsIn(t testing.TB, expression string) (names []string) {
	t.Helper()
	e, err := parser.NewParser(parser.Options{}).ParseExpr(expression)
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	parser.Inspect(e, func(node parser.Node, _ []parser.Node) error {
		if selector, ok := node.(*parser.VectorSelector); ok {
			names = append(names, selector.Name)
		}
		return nil
	})
	if len(names) == 0 {
		t.Errorf("%s names no metric", expression)
	}
	return names
}

func read(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	check(t, err)
	return string(text)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// section returns the text below a heading of Markdown, up to the next one of the same level or a higher one.
func section(t testing.TB, text, heading string) string {
	t.Helper()
	_, after, found := strings.Cut(text, "\n"+heading+"\n")
	if !found {
		t.Fatalf("there is no heading %q", heading)
	}
	level, _, _ := strings.Cut(heading, " ")
	if end := regexp.MustCompile(`(?m)^#{1,` + string('0'+rune(len(level))) + `} `).FindStringIndex(after); end != nil {
		after = after[:end[0]]
	}
	return after
}

func TestEachAlertSaysWhatToDo(t *testing.T) {
	t.Parallel()
	runbooks := section(t, read(t, runbookFile), "## Runbooks")
	alerts := map[string]bool{}
	for _, group := range readRules(t).Groups {
		for _, rule := range group.Rules {
			if rule.Alert == "" {
				continue
			}
			alerts[rule.Alert] = true
			if severity := rule.Labels["severity"]; severity != "critical" && severity != "warning" {
				t.Errorf("%s has the severity %q", rule.Alert, severity)
			}
			for _, name := range []string{"summary", "description"} {
				if rule.Annotations[name] == "" {
					t.Errorf("%s has no %s", rule.Alert, name)
				}
			}
			if want := "docs/operations.md#" + strings.ToLower(rule.Alert); rule.Annotations["runbook_url"] != want {
				t.Errorf("%s has the runbook %q, want %q", rule.Alert, rule.Annotations["runbook_url"], want)
			}
			page := section(t, runbooks, "### "+rule.Alert)
			for _, part := range []string{"**Look at**", "**Do**"} {
				if !strings.Contains(page, part) {
					t.Errorf("the runbook of %s has no %s", rule.Alert, part)
				}
			}
		}
	}
	for _, match := range regexp.MustCompile(`(?m)^### (Docket\w+)$`).FindAllStringSubmatch(runbooks, -1) {
		if !alerts[match[1]] {
			t.Errorf("there is a runbook of %s, which is no alert", match[1])
		}
	}
}

// dashboard is the part of a dashboard of Grafana that matters here. A row that is closed has panels of its own.
type dashboard struct {
	Title      string  `json:"title"`
	UID        string  `json:"uid"`
	Panels     []panel `json:"panels"`
	Templating struct {
		List []struct {
			Name, Type string
			Query      any
		}
	}
}

type panel struct {
	ID          int
	Type, Title string
	Description string
	Datasource  struct{ UID string }
	GridPos     struct{ H, W, X, Y int }
	Targets     []struct {
		Expr, LegendFormat, RefID string
		Datasource                struct{ UID string }
	}
	Panels []panel
}

func readDashboard(t testing.TB) (d dashboard) {
	t.Helper()
	check(t, json.Unmarshal([]byte(read(t, dashboardFile)), &d))
	return d
}

// expressions returns what the panels ask Prometheus, with values for Grafana's variables.
func (d dashboard) expressions() (all []string) {
	values := strings.NewReplacer("$__rate_interval", "1m", "$job", "docket", "$instance", ".*")
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			all = append(all, values.Replace(target.Expr))
		}
	}
	return all
}

func TestTheDashboardIsComplete(t *testing.T) {
	t.Parallel()
	d := readDashboard(t)
	if d.Title == "" || d.UID == "" {
		t.Errorf("title %q, uid %q", d.Title, d.UID)
	}
	var variables []string
	for _, v := range d.Templating.List {
		variables = append(variables, v.Type+" "+v.Name)
	}
	if want := []string{"datasource datasource", "query job", "query instance"}; !slices.Equal(variables, want) {
		t.Errorf("the variables are %v, want %v", variables, want)
	}
	ids, taken := map[int]bool{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if ids[p.ID] || p.Title == "" {
			t.Errorf("panel %d %q needs a title and a number of its own", p.ID, p.Title)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("panel %q is on %q, or outside", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			if len(p.Panels) > 0 {
				t.Errorf("the row %q hides its panels", p.Title)
			}
			continue
		}
		if len(p.Targets) == 0 || p.Datasource.UID != "${datasource}" || p.Description == "" {
			t.Errorf("panel %q needs queries, the chosen data source and a description", p.Title)
		}
		for _, target := range p.Targets {
			if !strings.Contains(target.Expr, `job=~"$job",instance=~"$instance"`) {
				t.Errorf("panel %q does not ask for the chosen job and instance: %s", p.Title, target.Expr)
			}
		}
	}
}

// config is a configuration of Prometheus. It has only the fields that the example uses, and others are refused:
// Prometheus' own type needs the libraries of all clouds that it can discover targets in.
type config struct {
	Global struct {
		ScrapeInterval     model.Duration `yaml:"scrape_interval"`
		ScrapeTimeout      model.Duration `yaml:"scrape_timeout"`
		EvaluationInterval model.Duration `yaml:"evaluation_interval"`
	} `yaml:"global"`
	RuleFiles []string `yaml:"rule_files"`
	Alerting  struct {
		Alertmanagers []targets `yaml:"alertmanagers"`
	} `yaml:"alerting"`
	ScrapeConfigs []struct {
		JobName string `yaml:"job_name"`
		targets `yaml:",inline"`
	} `yaml:"scrape_configs"`
}

type targets struct {
	StaticConfigs []*targetgroup.Group `yaml:"static_configs"`
}

func TestTheExampleScrapesAsTheRulesExpect(t *testing.T) {
	t.Parallel()
	var c config
	decoder := yaml.NewDecoder(bytes.NewReader([]byte(read(t, configFile))))
	decoder.KnownFields(true)
	check(t, decoder.Decode(&c))
	if time.Duration(c.Global.ScrapeInterval) != interval || time.Duration(c.Global.EvaluationInterval) != interval {
		t.Errorf("it scrapes every %s and evaluates every %s", c.Global.ScrapeInterval, c.Global.EvaluationInterval)
	}
	if timeout := time.Duration(c.Global.ScrapeTimeout); timeout <= 4*time.Second || timeout > interval {
		t.Errorf("a scrape takes at most 4 s, and may take %s", timeout)
	}
	if !slices.Equal(c.RuleFiles, []string{"docket.rules.yaml"}) {
		t.Errorf("the rules are %v", c.RuleFiles)
	}
	if len(c.ScrapeConfigs) != 1 || c.ScrapeConfigs[0].JobName != "docket" || len(c.ScrapeConfigs[0].StaticConfigs[0].Targets) == 0 {
		t.Errorf("it scrapes %+v", c.ScrapeConfigs)
	}
}

// metricPattern finds the names of metrics of Docket's own in a text. The other names that begin so are tables.
var (
	metricPattern = regexp.MustCompile(`\bdocket_[a-z_]+\b`)
	tables        = []string{"docket_app", "docket_schema_version"}
)
