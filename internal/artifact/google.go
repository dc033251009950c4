package artifact

import (
	"context"
	"fmt"
	"os"

	"cloud.google.com/go/storage"
	"gocloud.dev/blob"
	"gocloud.dev/blob/gcsblob"
	"gocloud.dev/gcp"
	"golang.org/x/oauth2/google"
)

// googleScope lets the identity read and write objects.
const googleScope = "https://www.googleapis.com/auth/devstorage.read_write"

// openGoogle opens a bucket of Google Cloud Storage, or of the emulator that STORAGE_EMULATOR_HOST names.
func openGoogle(ctx context.Context, name string, o Options) (*blob.Bucket, error) {
	client, err := googleClient(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("gs://%s: %w", name, err)
	}
	b, err := gcsblob.OpenBucket(ctx, client, name, nil)
	if err != nil {
		return nil, err
	}
	var library *storage.Client
	if b.As(&library) {
		library.SetRetry(storage.WithMaxAttempts(attempts), storage.WithErrorFunc(func(err error) bool { // by itself it tries for ever
			if again, unheard := firstTries(err); unheard {
				return again
			}
			return storage.ShouldRetry(err)
		}))
	}
	return b, nil
}

func googleClient(ctx context.Context, o Options) (*gcp.HTTPClient, error) {
	transport, err := newTransport(newContact(o.patience(), cloudRemedy))
	if err != nil {
		return nil, err
	}
	if dir := o.CredentialsDir; dir != "" {
		account, err := credential(dir, "GOOGLE_APPLICATION_CREDENTIALS")
		if err != nil {
			return nil, err
		}
		if account == "" {
			return nil, missing("gs", "GOOGLE_APPLICATION_CREDENTIALS")
		}
		credentials, err := google.CredentialsFromJSONWithType(ctx, []byte(account), google.ServiceAccount, googleScope)
		if err != nil {
			return nil, fmt.Errorf("%w: GOOGLE_APPLICATION_CREDENTIALS of the credentials secret: %w", ErrDenied, err)
		}
		return gcp.NewHTTPClient(transport, credentials.TokenSource)
	}
	if os.Getenv("STORAGE_EMULATOR_HOST") != "" {
		return gcp.NewAnonymousHTTPClient(transport), nil
	}
	credentials, err := gcp.DefaultCredentials(ctx)
	if err != nil { // no identity: public buckets are read without
		return gcp.NewAnonymousHTTPClient(transport), nil //nolint:nilerr // the first use says what is missing
	}
	return gcp.NewHTTPClient(transport, credentials.TokenSource)
}
