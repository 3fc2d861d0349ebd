package alerts_test

import (
	"bufio"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"docket/internal/dbtest"
	"docket/internal/dbtest/pgproxy"
	"docket/internal/devauth"
	"docket/internal/devdb"
	"docket/migrations"
)

// fault is a fault of a running service and what it must lead to.
type fault struct {
	name   string
	alerts []string // that must fire; no other may, but
	may    []string // these may be a consequence, depending on when the scrapes are

	// start starts a service. The function that it returns begins the fault and scrapes while it lasts.
	start func(t *testing.T) (s *service, begin func(last scrape) []scrape)
	lasts time.Duration // for the rules; zero means 10 minutes
}

var faults = []fault{
	{
		name: "the process has ended", alerts: []string{"DocketDown"},
		start: func(t *testing.T) (*service, func(scrape) []scrape) {
			s := start(t, dbtest.New(t))
			return s, func(scrape) []scrape {
				s.stop()
				return []scrape{s.scrape(t), s.scrape(t)}
			}
		},
	},
	{
		name: "the process ends again and again", alerts: []string{"DocketRestarting"},
		start: func(t *testing.T) (*service, func(scrape) []scrape) {
			s := start(t, dbtest.New(t))
			return s, func(scrape) (seen []scrape) {
				for range 3 {
					s.restart(t)
					seen = append(seen, s.eventually(t, "it is ready", ready))
				}
				return seen
			}
		},
	},
	{
		name: "PostgreSQL has ended", alerts: []string{"DocketNotReady"},
		start: func(t *testing.T) (*service, func(scrape) []scrape) {
			server, err := devdb.Start(t.Context(), devdb.Options{Dir: dbtest.Dir(t), Ephemeral: true, Log: os.Stderr})
			check(t, err)
			stop := sync.OnceValue(server.Stop)
			t.Cleanup(func() { check(t, stop()) })
			databaseURL := server.URL("postgres")
			conn, err := pgx.Connect(t.Context(), databaseURL)
			check(t, err)
			_, err = conn.Exec(t.Context(), devdb.UserFixtureSQL)
			check(t, err)
			check(t, conn.Close(t.Context()))
			check(t, migrations.Up(t.Context(), databaseURL, io.Discard))
			s := start(t, databaseURL)
			return s, func(scrape) []scrape {
				check(t, stop())
				return s.twice(t, func(now scrape) bool { return has(now, `docket_ready{check="database"}`, 0) })
			}
		},
	},
	{
		name: "the database accepts no changes", alerts: []string{"DocketNotReady"},
		start: func(t *testing.T) (*service, func(scrape) []scrape) {
			s := start(t, dbtest.New(t))
			return s, func(scrape) []scrape {
				s.exec(t, `
					do $$ begin execute format('alter database %I set default_transaction_read_only = on', current_database()); end $$;
					select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`)
				return s.twice(t, func(now scrape) bool {
					return has(now, `docket_ready{check="database"}`, 0) && has(now, `docket_ready{check="schema"}`, 1)
				})
			}
		},
	},
	{
		name: "the key set cannot be fetched when the process starts", alerts: []string{"DocketNotReady"},
		start: func(t *testing.T) (*service, func(scrape) []scrape) {
			s := start(t, dbtest.New(t))
			return s, func(scrape) []scrape {
				s.issuer.AnswerKeys(unavailable)
				s.restart(t)
				return s.twice(t, func(now scrape) bool {
					return has(now, `docket_ready{check="keys"}`, 0) && has(now, `docket_ready{check="schema"}`, 1)
				})
			}
		},
	},
	{
		name: "the key set cannot be fetched any more", alerts: []string{"DocketKeysStale"}, lasts: 40 * time.Minute,
		start: func(t *testing.T) (*service, func(scrape) []scrape) {
			s := start(t, dbtest.New(t))
			other, err := devauth.Start(devauth.Options{})
			check(t, err)
			t.Cleanup(other.Close)
			return s, func(last scrape) []scrape {
				s.issuer.AnswerKeys(unavailable)
				// A token with a key that is not known makes the service fetch the key set, so that it notices now.
				r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/api/somebody/tasks", nil)
				check(t, err)
				r.Header.Set("Authorization", "Bearer "+other.Token("somebody"))
				response, err := client.Do(r)
				check(t, err)
				response.Body.Close()
				return s.twice(t, func(now scrape) bool { return ready(now) && grown(last, now, "docket_auth_key_fetch_failures_total") })
			}
		},
	},
	{
		name: "the schema is older than the process", alerts: []string{"DocketSchemaBehind"},
		start: func(t *testing.T) (*service, func(scrape) []scrape) {
			s := start(t, dbtest.New(t))
			return s, func(scrape) []scrape {
				s.exec(t, "update docket_schema_version set version = version - 1")
				return s.twice(t, func(now scrape) bool { return has(now, `docket_ready{check="schema"}`, 0) })
			}
		},
	},
	{
		name: "a trigger fails", alerts: []string{"DocketErrors"},
		start: func(t *testing.T) (*service, func(scrape) []scrape) {
			return refusing(t, "22012", http.StatusInternalServerError) // division_by_zero
		},
	},
	{
		name: "the database's disk is full", alerts: []string{"DocketUnavailable"},
		start: func(t *testing.T) (*service, func(scrape) []scrape) {
			return refusing(t, "53100", http.StatusServiceUnavailable) // disk_full
		},
	},
	{
		name: "the connection breaks while changes are made", alerts: []string{"DocketOutcomeUnknown"},
		start: func(t *testing.T) (*service, func(scrape) []scrape) {
			proxy := dbtest.Proxy(t, dbtest.New(t))
			s := start(t, proxy.URL)
			return s, func(last scrape) (seen []scrape) {
				for range 2 {
					proxy.Fail(pgproxy.LoseReply)
					s.create(t, s.owners[0], "a task")
					last = s.eventually(t, "it is counted", func(now scrape) bool {
						return ready(now) && grown(last, now, `docket_problems_total{type="outcome_unknown"}`)
					})
					seen = append(seen, last)
				}
				return seen
			}
		},
	},
	{
		name: "more requests arrive than are answered", alerts: []string{"DocketOverloaded"},
		may: []string{"DocketConnectionsExhausted", "DocketSlow", "DocketUnavailable"},
		start: func(t *testing.T) (*service, func(scrape) []scrape) {
			s := start(t, dbtest.New(t), "DB_MAX_CONNS=1") // 4 requests are admitted, and 12 wait
			return s, func(last scrape) (seen []scrape) {
				s.hold(t)
				s.flood(t, 16)
				for range 2 {
					last = s.eventually(t, "requests are refused", func(now scrape) bool {
						return ready(now) && grown(last, now, `docket_admission_refused_total{reason="busy"}`)
					})
					seen = append(seen, last)
				}
				return seen
			}
		},
	},
	{
		name: "all connections to the database wait for a lock", alerts: []string{"DocketConnectionsExhausted"},
		may: []string{"DocketSlow", "DocketUnavailable"},
		start: func(t *testing.T) (*service, func(scrape) []scrape) {
			s := start(t, dbtest.New(t), "DB_MAX_CONNS=2")
			return s, func(scrape) []scrape {
				s.hold(t)
				s.flood(t, 4)
				return s.twice(t, func(now scrape) bool { return ready(now) && has(now, `docket_db_connections{state="acquired"}`, 2) })
			}
		},
	},
	{
		name: "requests wait for a lock", alerts: []string{"DocketSlow"}, may: []string{"DocketUnavailable"},
		start: func(t *testing.T) (*service, func(scrape) []scrape) {
			s := start(t, dbtest.New(t), "DB_STATEMENT_TIMEOUT=9s")
			return s, func(last scrape) (seen []scrape) {
				const clients = 12
				for range 2 {
					release := s.hold(t)
					var all sync.WaitGroup
					for _, owner := range s.owners[:clients] {
						all.Go(func() { _, _ = s.send(owner, http.MethodGet, "/tasks", "") })
					}
					s.eventually(t, "all of them wait", func(now scrape) bool { return has(now, "docket_admission_in_flight", clients) })
					time.Sleep(600 * time.Millisecond) // so that they take at least as long
					release()
					all.Wait()
					last = s.eventually(t, "they are counted", func(now scrape) bool {
						return ready(now) && requests(now, "_count") >= requests(last, "_count")+clients
					})
					seen = append(seen, last)
				}
				return seen
			}
		},
	},
	{
		name: "clients keep all connections open", alerts: []string{"DocketClientConnectionsFull"},
		start: func(t *testing.T) (*service, func(scrape) []scrape) {
			const most = 3
			s := start(t, dbtest.New(t), "MAX_CONNECTIONS=3")
			return s, func(scrape) []scrape {
				for range most {
					c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
					check(t, err)
					t.Cleanup(func() { c.Close() })
					_, err = io.WriteString(c, "GET /health HTTP/1.1\r\nHost: docket\r\n\r\n")
					check(t, err)
					_, err = http.ReadResponse(bufio.NewReader(c), nil)
					check(t, err)
				}
				return s.twice(t, func(now scrape) bool { return ready(now) && has(now, "docket_client_connections", most) })
			}
		},
	},
	{
		name: "a pooler does not support prepared statements", alerts: []string{"DocketPreparedStatementsLost"},
		start: func(t *testing.T) (*service, func(scrape) []scrape) {
			databaseURL := dbtest.New(t)
			pooler := dbtest.PlainPooler(t, databaseURL)
			s := start(t, databaseURL)
			return s, func(last scrape) []scrape {
				s.restart(t, "DATABASE_URL="+pooler.URL, "DB_QUERY_MODE=cache_statement")
				stop := s.flood(t, 8)
				lost := s.eventually(t, "they are lost", func(now scrape) bool { return grown(last, now, "docket_db_prepared_statements_lost_total") })
				stop()
				return []scrape{lost, s.eventually(t, "it continues without them", func(now scrape) bool {
					return ready(now) && has(now, `docket_db_query_mode{mode="exec"}`, 1)
				})}
			}
		},
	},
	{
		name: "the process needs more memory than it may", alerts: []string{"DocketMemoryNearLimit"},
		start: func(t *testing.T) (*service, func(scrape) []scrape) {
			s := start(t, dbtest.New(t))
			return s, func(scrape) []scrape {
				s.restart(t, "GOMEMLIMIT=1MiB")
				return s.twice(t, ready)
			}
		},
	},
}

// ready reports whether all checks of readiness succeed.
func ready(now scrape) bool {
	return has(now, `docket_ready{check="database"}`, 1) && has(now, `docket_ready{check="schema"}`, 1) && has(now, `docket_ready{check="keys"}`, 1)
}

// twice scrapes until the condition holds, and again until it holds.
func (s *service) twice(t *testing.T, is func(now scrape) bool) []scrape {
	t.Helper()
	return []scrape{s.eventually(t, "the fault is seen", is), s.eventually(t, "the fault is still seen", is)}
}

func unavailable(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusServiceUnavailable)
}

// refusing returns a fault: PostgreSQL refuses some new tasks with that SQLSTATE.
func refusing(t *testing.T, sqlstate string, status int) (*service, func(last scrape) []scrape) {
	s := start(t, dbtest.New(t))
	return s, func(last scrape) (seen []scrape) {
		s.refuse(t, sqlstate)
		for range 2 {
			n := s.work(t)
			for _, owner := range s.owners[:4] {
				if got := s.create(t, owner, "fail"); got != status {
					t.Errorf("the status is %d, want %d", got, status)
				}
				n++
			}
			last = s.eventually(t, "they are counted", func(now scrape) bool {
				return ready(now) && requests(now, "_count") >= requests(last, "_count")+float64(n)
			})
			seen = append(seen, last)
		}
		return seen
	}
}

// Each alert fires because of a real fault of a running service, and no other alert does. The scrapes are real. The time
// between them is made up, and the fault goes on as it did between the last two scrapes.
func TestEachFaultFiresItsAlert(t *testing.T) {
	t.Parallel()
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			s, begin := f.start(t)
			before, quiet := s.quiet(t)
			now := time.Now()
			seen := begin(quiet)

			p := newPrometheus(t, now)
			p.step(t, before)
			p.step(t, quiet)
			p.run(t, 5*time.Minute, quiet, quiet) // nothing was sent
			if len(p.fired) > 0 {
				t.Fatalf("without a fault, %v fires", p.fired)
			}
			for _, one := range seen {
				p.step(t, one)
			}
			lasts := f.lasts
			if lasts == 0 {
				lasts = 10 * time.Minute
			}
			p.run(t, lasts, seen[len(seen)-2], seen[len(seen)-1])
			for _, alert := range f.alerts {
				if p.fired[alert] == "" {
					t.Errorf("%s does not fire, only %v", alert, p.fired)
				}
			}
			may := slices.Concat(f.alerts, f.may)
			if slices.ContainsFunc(seen, func(one scrape) bool { return slow(one) > 0 }) {
				may = append(may, "DocketSlow") // the machine was busy, and the alert is right
			}
			for alert, summary := range p.fired {
				if !slices.Contains(may, alert) {
					t.Errorf("%s fires: %s", alert, summary)
				}
			}
		})
	}
}

// run continues what happened between two scrapes for some time.
func (p *prometheus) run(t testing.TB, lasts time.Duration, previous, last scrape) {
	t.Helper()
	for range lasts / interval {
		next := after(previous, last)
		p.step(t, next)
		previous, last = last, next
	}
}

func TestNoAlertFiresWhileClientsWork(t *testing.T) {
	t.Parallel()
	s := start(t, dbtest.New(t))
	before, quiet := s.quiet(t)
	p := newPrometheus(t, time.Now())
	p.step(t, before)
	p.step(t, quiet)
	p.run(t, 20*time.Minute, before, quiet)
	if len(p.fired) > 0 || len(p.active) > 0 {
		t.Errorf("%v fires, %v is pending or firing", p.fired, p.active)
	}
}

// Where few requests come, one that fails, one that is refused and some that are slow are a large share, and no reason to
// wake anybody.
func TestSingleFailuresFireNoAlert(t *testing.T) {
	t.Parallel()
	s := start(t, dbtest.New(t), "DB_MAX_CONNS=1") // 4 requests are admitted
	before, quiet := s.quiet(t)
	p := newPrometheus(t, time.Now())
	p.step(t, before)
	p.step(t, quiet)
	for _, fail := range []func(){
		func() {
			s.refuse(t, "53100") // disk_full
			if status := s.create(t, s.owners[0], "fail"); status != http.StatusServiceUnavailable {
				t.Errorf("the status is %d, want 503", status)
			}
		},
		func() {
			release := s.hold(t)
			var all sync.WaitGroup
			for _, owner := range s.owners[:5] { // the last one waits for a second, and is refused
				all.Go(func() { _, _ = s.send(owner, http.MethodGet, "/tasks", "") })
			}
			s.eventually(t, "one is refused", func(now scrape) bool { return has(now, `docket_admission_refused_total{reason="busy"}`, 1) })
			release()
			all.Wait()
		},
	} {
		fail()
		n := s.work(t)
		failed := s.eventually(t, "the requests are counted", func(now scrape) bool {
			return ready(now) && requests(now, "_count") > requests(quiet, "_count")+float64(n)
		})
		p.step(t, failed)
		p.run(t, 16*time.Minute, failed, failed) // the longest "for" is 15 minutes
		quiet = failed
	}
	if !has(quiet, `docket_problems_total{type="unavailable"}`, 1) || slow(quiet) < 5 {
		t.Errorf("%v requests were slow; unavailable: %v", slow(quiet), quiet)
	}
	if slow(quiet) >= 10 {
		delete(p.fired, "DocketSlow") // the machine was busy, and the alert is right
	}
	if len(p.fired) > 0 {
		t.Errorf("%v fires", p.fired)
	}
}

func TestAProcessThatIsNotScrapedFiresAnAlert(t *testing.T) {
	t.Parallel()
	p := newPrometheus(t, time.Now())
	p.run(t, 10*time.Minute, scrape{}, scrape{})
	if names := slices.Collect(maps.Keys(p.fired)); !slices.Equal(names, []string{"DocketDown"}) {
		t.Errorf("%v fires", p.fired)
	}
}

func TestEachAlertHasAFault(t *testing.T) {
	t.Parallel()
	tested := map[string]bool{}
	for _, f := range faults {
		for _, alert := range f.alerts {
			tested[alert] = true
		}
	}
	for _, group := range readRules(t).Groups {
		for _, rule := range group.Rules {
			if rule.Alert != "" && !tested[rule.Alert] {
				t.Errorf("no fault fires %s", rule.Alert)
			}
		}
	}
}

// Every metric that a rule, the dashboard or a runbook names is one that a service serves from its start on.
func TestNamedMetricsAreServed(t *testing.T) {
	t.Parallel()
	s := start(t, dbtest.New(t))
	_, now := s.quiet(t)
	served := map[string]bool{}
	for _, one := range now {
		served[one.labels.Get("__name__")] = true
	}
	recorded := map[string]bool{}
	want := map[string][]string{}
	for _, group := range readRules(t).Groups {
		for _, rule := range group.Rules {
			recorded[rule.Record] = true
			want[rule.Alert+rule.Record] = metricsIn(t, rule.Expr)
		}
	}
	for _, expression := range readDashboard(t).expressions() {
		want["the dashboard"] = append(want["the dashboard"], metricsIn(t, expression)...)
	}
	want["the runbooks"] = metricPattern.FindAllString(section(t, read(t, runbookFile), "## Runbooks"), -1)
	for place, names := range want {
		for _, name := range names {
			if !served[name] && !recorded[name] && !served[name+"_count"] && !slices.Contains(tables, name) {
				t.Errorf("%s names %s, which is not served", place, name)
			}
		}
	}
}
