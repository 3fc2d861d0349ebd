// Package alerts tests deploy/prometheus and deploy/grafana with Prometheus' own packages: the rules, the dashboard and the
// runbooks agree with the metrics of a running service, and each alert fires because of a real fault.
//
// Its module is one of its own, so that the service does not depend on Prometheus. The packages of Prometheus that run
// rules and load configurations are not used: they need the libraries of several clouds, which take longer to build than
// everything else here.
package alerts
