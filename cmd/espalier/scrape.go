package main

import (
	"net/http"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

// scrapers lets those read /metrics whom the API server knows and allows. controller-runtime's filter answers 500 to a token that
// the API server calls invalid or expired; the API server itself answers 401 there, and so does this.
func scrapers(cluster *rest.Config, client *http.Client) (server.Filter, error) {
	filter, err := filters.WithAuthenticationAndAuthorization(cluster, client)
	if err != nil {
		return nil, err
	}
	return func(log logr.Logger, next http.Handler) (http.Handler, error) {
		checked, err := filter(log, next)
		if err != nil {
			return nil, err
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { checked.ServeHTTP(&unauthorized{ResponseWriter: w}, r) }), nil
	}, nil
}

// unauthorized answers 401 where the filter says that it could not authenticate.
type unauthorized struct {
	http.ResponseWriter
	code int
}

// WriteHeader waits for the first words of a 500: they say whether it is about the token.
func (u *unauthorized) WriteHeader(code int) {
	u.code = code
	if code != http.StatusInternalServerError {
		u.ResponseWriter.WriteHeader(code)
	}
}

func (u *unauthorized) Write(b []byte) (int, error) {
	if u.code == http.StatusInternalServerError {
		u.code = http.StatusOK // said once
		if string(b) == "Authentication failed\n" {
			u.ResponseWriter.WriteHeader(http.StatusUnauthorized)
			if _, err := u.ResponseWriter.Write([]byte("Unauthorized\n")); err != nil {
				return 0, err
			}
			return len(b), nil
		}
		u.ResponseWriter.WriteHeader(http.StatusInternalServerError)
	}
	return u.ResponseWriter.Write(b)
}
