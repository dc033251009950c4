package controllers

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
)

// called names a pipeline of namespace ns.
func called(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: "ns", Name: name}
}

func want(name string, claims ...string) ticket {
	return ticket{ticketKey: ticketKey{called(name), "prune"}, claims: claims}
}

func TestPlacesAreGivenInOrder(t *testing.T) {
	var woken []string
	s := newPlaces(2, func(p types.NamespacedName) { woken = append(woken, p.Name) })
	for _, name := range []string{"a", "b"} {
		if _, _, ok := s.acquire(want(name), "job-"+name); !ok {
			t.Fatalf("%s has no place", name)
		}
	}
	for _, name := range []string{"c", "d", "e"} {
		if reason, message, ok := s.acquire(want(name), "job-"+name); ok || reason != reasonInFlightLimit || !strings.Contains(message, "2 Jobs") {
			t.Fatalf("%s: %v, %s: %s", name, ok, reason, message)
		}
	}
	if exempt := (ticket{ticketKey: ticketKey{called("q"), "prune"}, exempt: true}); !acquired(s, exempt) {
		t.Error("a queue's Job waits")
	}
	s.observe(called("a"), nil, nil, nil)
	if diff := cmp.Diff([]string{"c"}, woken); diff != "" {
		t.Errorf("woken:\n%s", diff)
	}
	if acquired(s, want("e")) || acquired(s, want("d")) {
		t.Error("somebody passed c")
	}
	s.observe(called("c"), nil, nil, nil) // it was deleted
	if !acquired(s, want("d")) || acquired(s, want("e")) {
		t.Error("d comes after c, and e after d")
	}
	s.observe(called("e"), nil, nil, []ticket{want("e")}) // it still wants
	if inFlight, waiting := s.numbers(); inFlight != 3 || waiting != 1 {
		t.Errorf("%d in flight, %d waiting", inFlight, waiting)
	}
}

func TestWhoWaitsIsWokenOnceForAPlace(t *testing.T) {
	var woken []string
	s := newPlaces(1, func(p types.NamespacedName) { woken = append(woken, p.Name) })
	acquired(s, want("a"))
	acquired(s, want("b"))
	s.observe(called("a"), nil, nil, nil)
	s.observe(called("x"), nil, nil, nil)
	s.observe(called("y"), nil, nil, nil)
	if diff := cmp.Diff([]string{"b"}, woken); diff != "" {
		t.Errorf("woken:\n%s", diff)
	}
	s.observe(called("b"), nil, nil, []ticket{want("b")}) // it could not start after all
	s.observe(called("x"), nil, nil, nil)
	if diff := cmp.Diff([]string{"b", "b"}, woken); diff != "" {
		t.Errorf("woken when it asked again:\n%s", diff)
	}
}

func acquired(s *places, t ticket) bool {
	_, _, ok := s.acquire(t, "job-"+t.pipeline.Name)
	return ok
}

func TestAClaimIsGivenToOneAtATimeAndHoldsUpNobodyElse(t *testing.T) {
	s := newPlaces(10, func(types.NamespacedName) {})
	if !acquired(s, want("a", "work")) {
		t.Fatal("nobody has the claim")
	}
	if reason, message, ok := s.acquire(want("b", "work"), "job-b"); ok || reason != reasonWaitForVolume || !strings.Contains(message, "job-a") {
		t.Errorf("%v, %s: %s", ok, reason, message)
	}
	if acquired(s, want("c", "work")) {
		t.Error("c has the claim beside a")
	}
	if !acquired(s, want("d")) || !acquired(s, want("e", "other")) {
		t.Error("who needs no claim waits")
	}
	elsewhere := want("f", "work")
	elsewhere.pipeline.Namespace = "another"
	if !acquired(s, elsewhere) {
		t.Error("a claim of another namespace is another")
	}
	s.observe(called("a"), nil, nil, nil)
	if acquired(s, want("c", "work")) || !acquired(s, want("b", "work")) {
		t.Error("b asked before c")
	}
}

func TestAPlaceJustTakenIsKeptUntilTheJobIsSeen(t *testing.T) {
	s := newPlaces(1, func(types.NamespacedName) {})
	acquired(s, want("a"))
	s.observe(called("a"), nil, []string{"job-a"}, nil)
	if acquired(s, want("b")) {
		t.Error("the place was given away")
	}
	s.observe(called("a"), []place{{job: "job-a"}}, nil, nil)
	if n, _ := s.numbers(); n != 1 {
		t.Errorf("%d in flight", n)
	}
	s.observe(called("a"), nil, nil, nil)
	if !acquired(s, want("b")) {
		t.Error("the place was not given back")
	}
}

func TestNoBound(t *testing.T) {
	s := newPlaces(0, func(types.NamespacedName) {})
	if i := slices.IndexFunc([]string{"a", "b", "c", "d"}, func(name string) bool { return !acquired(s, want(name)) }); i >= 0 {
		t.Errorf("pipeline %d waits", i)
	}
}
