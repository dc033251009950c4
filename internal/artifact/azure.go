package artifact

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"gocloud.dev/blob"
	"gocloud.dev/blob/azureblob"
)

// openAzure opens a container of Azure Blob Storage. Without a secret the library's own rules count: the environment, or the identity of
// the pod.
func openAzure(ctx context.Context, name string, o Options) (*blob.Bucket, error) {
	client, err := azureClient(name, o)
	if err != nil {
		return nil, fmt.Errorf("azblob://%s: %w", name, err)
	}
	return azureblob.OpenBucket(ctx, client, nil)
}

func azureClient(name string, o Options) (*container.Client, error) {
	dir, options := o.CredentialsDir, azureblob.NewDefaultServiceURLOptions()
	if dir == "" {
		url, err := azureblob.NewServiceURL(options)
		if err != nil {
			return nil, fmt.Errorf("%w: set AZURE_STORAGE_ACCOUNT in template.env: %w", ErrDenied, err)
		}
		return azureblob.NewDefaultClient(url, azureblob.ContainerName(name))
	}
	var values [3]string
	for i, key := range []string{"AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_KEY", "AZURE_STORAGE_SAS_TOKEN"} {
		var err error
		if values[i], err = credential(dir, key); err != nil {
			return nil, err
		}
	}
	account, key, token := values[0], values[1], values[2]
	if account == "" || key == "" && token == "" {
		return nil, missing("azblob", "AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN")
	}
	options.AccountName, options.SASToken = account, ""
	url, err := azureblob.NewServiceURL(options)
	if err != nil {
		return nil, err
	}
	transport, err := newTransport(newContact(o.patience(), cloudRemedy))
	if err != nil {
		return nil, err
	}
	client := &container.ClientOptions{ClientOptions: azcore.ClientOptions{
		Transport: &http.Client{Transport: transport}, Retry: policy.RetryOptions{ShouldRetry: shouldRetryAzure},
	}}
	address := strings.TrimSuffix(string(url), "/") + "/" + name
	if key == "" {
		return container.NewClientWithNoCredential(address+"?"+strings.TrimPrefix(token, "?"), client)
	}
	shared, err := container.NewSharedKeyCredential(account, key)
	if err != nil {
		return nil, fmt.Errorf("%w: AZURE_STORAGE_KEY of the credentials secret: %w", ErrDenied, err)
	}
	return container.NewClientWithSharedKeyCredential(address, shared, client)
}

// shouldRetryAzure is the library's own rule, but for a server that was never heard of.
func shouldRetryAzure(answer *http.Response, err error) bool {
	if err != nil {
		again, unheard := firstTries(err)
		return again || !unheard
	}
	return runtime.HasStatusCode(answer, http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout)
}
