package main

import (
	"fmt"
	"math"
)

// summary says what became of the tried mutants of all that a package has.
func summary(all, tried int, counts map[outcome]int) string {
	viable := tried - counts[notViable]
	if viable == 0 {
		return "no mutants"
	}
	s := fmt.Sprintf("%d mutants: %d killed, %d endless, %d survived, %d not covered: score %.1f %%",
		viable, counts[killed], counts[endless], counts[survived], counts[notCovered], 100*float64(counts[killed])/float64(viable))
	if tried == all {
		return s
	}
	low, high := interval(counts[killed], viable, float64(viable)*float64(all)/float64(tried))
	return fmt.Sprintf("%s (95 %%: %.0f to %.0f %%, of about %d mutants)", s, 100*low, 100*high, viable*all/tried)
}

// interval returns the 95 % interval of a share of which k of n drawn without replacement from a population have the trait: Wilson's score
// interval (JASA 22, 1927), with n raised by the finite population's correction (population−1)/(population−n).
func interval(k, n int, population float64) (low, high float64) {
	const z = 1.96
	if population <= float64(n) {
		return float64(k) / float64(n), float64(k) / float64(n)
	}
	share := float64(k) / float64(n)
	size := float64(n) * (population - 1) / (population - float64(n))
	middle := (share + z*z/(2*size)) / (1 + z*z/size)
	half := z / (1 + z*z/size) * math.Sqrt(share*(1-share)/size+z*z/(4*size*size))
	return max(0, middle-half), min(1, middle+half)
}
