package main

import "time"

// growthPlan is what tables are compared.
type growthPlan struct {
	tables  []int // how many tasks are in each
	owners  []int // how many tasks the measured owners have
	depths  []int // of a page reached by cursor
	rounds  int
	measure time.Duration // of each request in each round
}
