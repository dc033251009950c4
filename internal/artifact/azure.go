package artifact

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
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

var azureAccount = regexp.MustCompile("^[a-z0-9]{3,24}$")

// CheckAzureAccount reports an account that is no name of one. The name becomes part of the host that tokens are sent to.
func CheckAzureAccount(name string) error {
	if !azureAccount.MatchString(name) {
		return fmt.Errorf("AZURE_STORAGE_ACCOUNT %q is no name of a storage account: it has 3 to 24 lower-case letters and digits", name)
	}
	return nil
}

func azureClient(name string, o Options) (*container.Client, error) {
	dir, options := o.CredentialsDir, azureblob.NewDefaultServiceURLOptions()
	if dir == "" {
		if err := CheckAzureAccount(options.AccountName); options.AccountName != "" && err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDenied, err)
		}
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
	if err := CheckAzureAccount(account); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDenied, err)
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
