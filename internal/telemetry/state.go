package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// State is the part of the service's state that is read when the metrics are, and not counted as it changes.
type State struct {
	Ready                        Ready
	SchemaVersion, SchemaNeeded  int // SchemaVersion is 0 if it is not known
	DB                           DBStats
	Auth                         AuthStats
	Admitted, Queued             int // requests that are worked on, and that wait to be
	ScansWaiting                 int // of the latter, scans
	Connections, ConnectionsMost int // of clients; ConnectionsMost is 0 without a limit
}

// Ready is the result of a readiness check.
type Ready struct {
	Database, Schema, Keys bool
	SchemaUnknown          bool // as the database cannot be used
}

// DBStats is the state of the connections to the database, with counts since the start.
type DBStats struct {
	Acquired, Idle, Max int32         // connections in use, not in use, and the most that there may be
	Acquires            int64         // connections that were acquired
	Waits               int64         // of these, those that required waiting
	Waiting             time.Duration // total time of the waits
	Cancels             int64         // waits whose context ended

	Mode         string // how statements are sent; empty: not known yet
	Retries      int64  // transactions that were sent again
	Reconnects   int64  // times that all connections were replaced
	Lost         int64  // times that prepared statements turned out to get lost
	SharedReads  int64  // reads that shared a round trip
	SharedGroups int64  // round trips that they shared

	Transactions int64         // transactions that were sent
	Transacting  time.Duration // total time from there to the end of the answer
}

// AuthStats is the state of the verification of tokens, with counts since the start.
type AuthStats struct {
	Keys         int       // usable ones
	Fetched      time.Time // when the key set was last fetched; zero: never, or there is none
	Failures     int64     // fetches that failed
	CacheHits    int64     // tokens that were found in the cache
	CacheMisses  int64     // tokens that were not
	CacheEntries int       // tokens in the cache
}

// series is a value of State under the name of a metric.
type series struct {
	kind       prometheus.ValueType
	name, help string
	labels     prometheus.Labels
	value      func(State) (v float64, known bool)
}

const (
	gauge   = prometheus.GaugeValue
	counter = prometheus.CounterValue
)

var stateSeries = []series{
	ready("database", func(r Ready) (is, known bool) { return r.Database, true }),
	ready("schema", func(r Ready) (is, known bool) { return r.Schema, !r.SchemaUnknown }),
	ready("keys", func(r Ready) (is, known bool) { return r.Keys, true }),
	{
		gauge, "docket_schema_version", "Version of the database's schema.", nil,
		func(s State) (float64, bool) { return float64(s.SchemaVersion), s.SchemaVersion != 0 },
	},
	number(gauge, "docket_schema_version_needed", "Oldest version of the schema that this process works with.", nil,
		func(s State) int { return s.SchemaNeeded }),

	number(gauge, "docket_db_connections", connectionsHelp, prometheus.Labels{"state": "acquired"}, func(s State) int32 { return s.DB.Acquired }),
	number(gauge, "docket_db_connections", connectionsHelp, prometheus.Labels{"state": "idle"}, func(s State) int32 { return s.DB.Idle }),
	number(gauge, "docket_db_connections_max", "DB_MAX_CONNS.", nil, func(s State) int32 { return s.DB.Max }),
	number(counter, "docket_db_acquires_total", "Connections taken from the pool.", nil, func(s State) int64 { return s.DB.Acquires }),
	number(counter, "docket_db_acquire_waits_total", "Connections that had to be waited for.", nil, func(s State) int64 { return s.DB.Waits }),
	number(counter, "docket_db_acquire_wait_seconds_total", "Time spent waiting for them.", nil, func(s State) float64 { return s.DB.Waiting.Seconds() }),
	number(counter, "docket_db_acquire_cancels_total", "Waits that were given up.", nil, func(s State) int64 { return s.DB.Cancels }),
	mode("cache_statement"), mode("exec"), mode("cache_describe"),
	number(counter, "docket_db_transactions_total", "Transactions of requests that were sent.", nil, func(s State) int64 { return s.DB.Transactions }),
	number(counter, "docket_db_transaction_seconds_total", "Time that they took on their connections.", nil,
		func(s State) float64 { return s.DB.Transacting.Seconds() }),
	number(counter, "docket_db_retries_total", "Transactions that were sent again.", nil, func(s State) int64 { return s.DB.Retries }),
	number(counter, "docket_db_reconnects_total", "Times that all connections were replaced, as the server was read-only.", nil,
		func(s State) int64 { return s.DB.Reconnects }),
	number(counter, "docket_db_prepared_statements_lost_total", "Times that prepared statements turned out to get lost.", nil,
		func(s State) int64 { return s.DB.Lost }),
	number(counter, "docket_db_shared_reads_total", "Reads that shared a round trip.", nil, func(s State) int64 { return s.DB.SharedReads }),
	number(counter, "docket_db_shared_round_trips_total", "Round trips that they shared.", nil, func(s State) int64 { return s.DB.SharedGroups }),

	number(gauge, "docket_auth_keys", "Keys that tokens can be verified with.", nil, func(s State) int { return s.Auth.Keys }),
	{
		gauge, "docket_auth_keys_fetched_timestamp_seconds", "When the key set was last fetched.", nil,
		func(s State) (float64, bool) {
			return float64(s.Auth.Fetched.UnixMilli()) / 1000, !s.Auth.Fetched.IsZero()
		},
	},
	number(counter, "docket_auth_key_fetch_failures_total", "Fetches of the key set that failed.", nil, func(s State) int64 { return s.Auth.Failures }),
	number(counter, "docket_token_cache_hits_total", "Tokens that had been verified less than a minute before.", nil,
		func(s State) int64 { return s.Auth.CacheHits }),
	number(counter, "docket_token_cache_misses_total", "Tokens that had not.", nil, func(s State) int64 { return s.Auth.CacheMisses }),
	number(gauge, "docket_token_cache_entries", "Tokens in the cache.", nil, func(s State) int { return s.Auth.CacheEntries }),

	number(gauge, "docket_admission_in_flight", "Requests that were admitted and are being worked on.", nil, func(s State) int { return s.Admitted }),
	number(gauge, "docket_admission_queued", "Requests that wait to be admitted.", nil, func(s State) int { return s.Queued }),
	number(gauge, "docket_admission_scans_waiting", "Scans that wait to be admitted; they count as queued, too.", nil,
		func(s State) int { return s.ScansWaiting }),

	number(gauge, "docket_client_connections", "Open connections of clients.", nil, func(s State) int { return s.Connections }),
	number(gauge, "docket_client_connections_max", "MAX_CONNECTIONS; 0 means no limit.", nil, func(s State) int { return s.ConnectionsMost }),
}

const connectionsHelp = "Connections to the database."

func number[T int | int32 | int64 | float64](
	kind prometheus.ValueType, name, help string, labels prometheus.Labels, value func(State) T,
) series {
	return series{kind, name, help, labels, func(s State) (float64, bool) { return float64(value(s)), true }}
}

func ready(check string, is func(Ready) (is, known bool)) series {
	return series{
		gauge, "docket_ready", "1 if the check of readiness succeeds, else 0.",
		prometheus.Labels{"check": check},
		func(s State) (float64, bool) {
			is, known := is(s.Ready)
			return one(is), known
		},
	}
}

func mode(name string) series {
	return number(gauge, "docket_db_query_mode", "1 for the way in which statements are sent, else 0.", prometheus.Labels{"mode": name},
		func(s State) float64 { return one(s.DB.Mode == name) })
}

func one(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// stateCollector implements prometheus.Collector. It calls its function once whenever the metrics are read.
type stateCollector func() State

func (s series) desc() *prometheus.Desc { return prometheus.NewDesc(s.name, s.help, nil, s.labels) }

// Describe implements prometheus.Collector.
func (stateCollector) Describe(descs chan<- *prometheus.Desc) {
	for _, s := range stateSeries {
		descs <- s.desc()
	}
}

// Collect implements prometheus.Collector.
func (read stateCollector) Collect(metrics chan<- prometheus.Metric) {
	state := read()
	for _, s := range stateSeries {
		if v, known := s.value(state); known {
			metrics <- prometheus.MustNewConstMetric(s.desc(), s.kind, v)
		}
	}
}
