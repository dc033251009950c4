// Package target knows the devices that leaves are for: which operators their runtime computes, on which types and within which
// limits, and how that runtime lays out its memory.
//
// A Target is a device with a runtime. Lookup finds one by name in the catalogue, which is data: a file a device in
// catalogue/devices, a file an operator table in catalogue/operators, each with its sources. Check says which operators of a model
// do not run on a target, why, and what to change; Memory says what memory a model takes there.
//
// Nothing here is measured on a device. What a source does not state is left out of the catalogue, not estimated.
package target
