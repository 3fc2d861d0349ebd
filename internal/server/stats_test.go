package server_test

import (
	"encoding/json"
	"net/http"
	"reflect"
	"testing"
)

// stats is the answer to getStats.
type stats struct {
	Total               int            `json:"total"`
	Pending             int            `json:"pending"`
	Completed           int            `json:"completed"`
	PendingByPriority   map[string]int `json:"pending_by_priority"`
	CompletedByPriority map[string]int `json:"completed_by_priority"`
}

func (o *owner) stats(t testing.TB, headers ...string) *answer {
	t.Helper()
	return o.service.send(t, "GET", o.path()+"/stats", "", append([]string{"Authorization: Bearer " + o.token}, headers...)...)
}

// statsOf counts tasks by hand.
func statsOf(tasks []task) stats {
	s := stats{PendingByPriority: map[string]int{"low": 0, "medium": 0, "high": 0}, CompletedByPriority: map[string]int{"low": 0, "medium": 0, "high": 0}}
	for _, t := range tasks {
		s.Total++
		if t.Completed {
			s.Completed++
			s.CompletedByPriority[t.Priority]++
		} else {
			s.Pending++
			s.PendingByPriority[t.Priority]++
		}
	}
	return s
}

func (a *answer) wantStats(tasks []task) {
	a.t.Helper()
	var got stats
	check(a.t, json.Unmarshal([]byte(a.want(http.StatusOK).body), &got))
	if want := statsOf(tasks); !reflect.DeepEqual(got, want) {
		a.t.Errorf("counted %+v, want %+v", got, want)
	}
}

// An entity tag of the counts is that of no list, and changes with every change of a task.
func TestStatsCountTheOwnersTasks(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.bob.create(t, `{"title": "bob's"}`)
	none := s.ada.stats(t)
	none.wantStats(nil)
	s.ada.stats(t, "If-None-Match: "+none.get("ETag")).want(http.StatusNotModified)
	s.ada.fill(t, 30)
	all := s.ada.all(t, "")
	filled := s.ada.stats(t, "If-None-Match: "+none.get("ETag"))
	filled.wantStats(all.Tasks)
	s.ada.stats(t, "If-None-Match: "+filled.get("ETag")).want(http.StatusNotModified)
	s.ada.stats(t, "If-None-Match: *").want(http.StatusNotModified)
	list := s.ada.send(t, "GET", "", "").want(http.StatusOK)
	s.ada.stats(t, "If-None-Match: "+list.get("ETag")).want(http.StatusOK)
	s.ada.send(t, "GET", "", "", "If-None-Match: "+filled.get("ETag")).want(http.StatusOK)

	s.ada.send(t, "DELETE", "/"+all.Tasks[0].ID, "").want(http.StatusNoContent)
	s.ada.stats(t, "If-None-Match: "+filled.get("ETag")).wantStats(all.Tasks[1:])
	s.ada.send(t, "PATCH", "/"+all.Tasks[1].ID+"/complete", "").want(http.StatusOK)
	s.ada.stats(t).wantStats(s.ada.all(t, "").Tasks)
}
