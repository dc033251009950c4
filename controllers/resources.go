package controllers

import (
	"fmt"
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Resources are what stages ask for where a template says nothing of it, so that nodes know what they take on.
type Resources struct{ Requests, Limits corev1.ResourceList }

// ParseResources reads texts such as cpu=500m.
func ParseResources(requests, limits []string) (Resources, error) {
	var r Resources
	for _, of := range []struct {
		what  string
		texts []string
		into  *corev1.ResourceList
	}{{"requests", requests, &r.Requests}, {"limits", limits, &r.Limits}} {
		*of.into = corev1.ResourceList{}
		for _, text := range of.texts {
			name, value, _ := strings.Cut(text, "=")
			quantity, err := resource.ParseQuantity(value)
			if err != nil || quantity.Sign() <= 0 || name == "" {
				return r, fmt.Errorf("%s: %q is no resource with a quantity above 0, such as cpu=500m or memory=512Mi", of.what, text)
			}
			(*of.into)[corev1.ResourceName(name)] = quantity
		}
	}
	for name, request := range r.Requests {
		if limit, limited := r.Limits[name]; limited && request.Cmp(limit) > 0 {
			return r, fmt.Errorf("the request of %s, %s, is above its limit, %s", name, request.String(), limit.String())
		}
	}
	return r, nil
}

// beside completes what a template asks for. A limit of its own bounds the request it does not name, a request of its own raises the limit
// it does not name.
func (r Resources) beside(asked corev1.ResourceRequirements) corev1.ResourceRequirements {
	out := *asked.DeepCopy()
	out.Requests, out.Limits = maps.Clone(r.Requests), maps.Clone(r.Limits)
	for name, quantity := range asked.Limits {
		put(&out.Limits, name, quantity)
		if request, has := out.Requests[name]; has && request.Cmp(quantity) > 0 {
			out.Requests[name] = quantity
		}
	}
	for name, quantity := range asked.Requests {
		put(&out.Requests, name, quantity)
		_, own := asked.Limits[name]
		if limit, has := out.Limits[name]; has && !own && quantity.Cmp(limit) > 0 {
			out.Limits[name] = quantity
		}
	}
	return out
}

func put(list *corev1.ResourceList, name corev1.ResourceName, quantity resource.Quantity) {
	if *list == nil {
		*list = corev1.ResourceList{}
	}
	(*list)[name] = quantity
}

// bounds of the Go runtime, which by itself takes every processor and all the memory of the node where the container has no limit. It takes
// as many processors as the limit is, or else the request, rounded up, and nine tenths of the memory, the rest being what is not Go's heap.
func bounds(r corev1.ResourceRequirements) []corev1.EnvVar {
	from := func(name, field string) corev1.EnvVar {
		return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{ContainerName: containerName, Resource: field}}}
	}
	processors, memory := from("GOMAXPROCS", "limits.cpu"), from("GOMEMLIMIT", "limits.memory")
	if _, limited := r.Limits[corev1.ResourceCPU]; !limited && !r.Requests.Cpu().IsZero() {
		processors = from("GOMAXPROCS", "requests.cpu")
	}
	if limit, limited := r.Limits[corev1.ResourceMemory]; limited {
		memory = corev1.EnvVar{Name: "GOMEMLIMIT", Value: fmt.Sprint(limit.Value() / 10 * 9)}
	}
	return []corev1.EnvVar{processors, memory}
}

// little is what reading a result takes, within the stage's limits; nothing of other kinds.
func little(stage corev1.ResourceRequirements) corev1.ResourceRequirements {
	out := corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("50m"), corev1.ResourceMemory: resource.MustParse("64Mi")}}
	for name, request := range maps.Clone(out.Requests) {
		limit, limited := stage.Limits[name]
		if !limited {
			continue
		}
		put(&out.Limits, name, limit)
		if limit.Cmp(request) < 0 {
			out.Requests[name] = limit
		}
	}
	return out
}
