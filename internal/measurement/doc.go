// Package measurement runs the programs of spec.measurements and reads what they print. A program may be anybody's: what it prints is
// bounded, parsed strictly, and nothing but numbers comes of it. Errors hold none of its text, except the end of what it said on standard
// error to the person who started it on this machine.
//
// Local runs a program here. Exchange has it run in another container of the pod, where Serve answers, by files that appear whole: the leaf and
// the request in a folder that only the stage writes, the answer in one that only the other container does.
package measurement
