// Package measurement runs the programs of spec.measurements and reads what they print. A program may be anybody's: what it prints is
// bounded, parsed strictly, and nothing but numbers comes of it. Errors hold none of its text, except the end of what it said on standard
// error to the person who started it.
package measurement
