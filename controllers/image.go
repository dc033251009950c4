package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// PinImage returns an image by the digest that a pod runs it by: the manager's own pod, so that the Jobs run what the manager is, whichever
// node they come to and whatever the image's name stands for by then. A kubelet may take a moment to say which that is. An error says why
// it cannot be told.
func PinImage(ctx context.Context, reader client.Reader, key types.NamespacedName, image string) (string, error) {
	for waited := false; ; waited = true {
		var pod corev1.Pod
		if err := reader.Get(ctx, key, &pod); err != nil {
			if waited {
				err = errSilent
			}
			return "", fmt.Errorf("look at the manager's pod %s: %w", key.Name, err)
		}
		id, err := imageID(&pod, image)
		if err != nil {
			return "", err
		}
		if id != "" {
			return pinned(image, id)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

var errSilent = errors.New("its kubelet does not say yet which image it runs")

// imageID is what a pod's container has as its image, "" while that is not known.
func imageID(pod *corev1.Pod, image string) (string, error) {
	i := slices.IndexFunc(pod.Spec.Containers, func(c corev1.Container) bool { return c.Image == image })
	if i < 0 {
		return "", fmt.Errorf("no container of pod %s has the image %s", pod.Name, image)
	}
	for _, s := range pod.Status.ContainerStatuses {
		if s.Name == pod.Spec.Containers[i].Name {
			return s.ImageID, nil
		}
	}
	return "", nil
}

// pinned is an image by the digest of what a node has under its name. One that was not pulled from its registry has no digest there.
func pinned(image, id string) (string, error) {
	if _, rest, found := strings.Cut(id, "://"); found { // docker-pullable://
		id = rest
	}
	tag, err := name.ParseReference(image)
	if err != nil {
		return "", fmt.Errorf("image %s: %w", image, err)
	}
	digest, err := name.NewDigest(id)
	if err != nil || digest.Context().Name() != tag.Context().Name() {
		return "", fmt.Errorf("the node has %s as %s, which no other node could pull from %s", image, id, tag.Context().Name())
	}
	repository, _, _ := strings.Cut(image, "@")
	if colon := strings.LastIndexByte(repository, ':'); colon > strings.LastIndexByte(repository, '/') {
		repository = repository[:colon]
	}
	return repository + "@" + digest.DigestStr(), nil
}
