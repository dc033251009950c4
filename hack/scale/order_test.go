package main

import (
	"testing"
	"time"
)

func TestFinishes(t *testing.T) {
	start := time.Now()
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	first, median, last, behind := finishes(map[string]time.Time{"p0": at(2), "p1": at(9), "p2": at(4), "p3": at(6), "p4": at(10)}, start)
	if first != 2*time.Second || median != 6*time.Second || last != 10*time.Second || behind != 2 {
		t.Errorf("first %s, median %s, last %s, %d behind", first, median, last, behind)
	}
}
