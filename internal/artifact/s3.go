package artifact

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"gocloud.dev/blob"
	"gocloud.dev/blob/s3blob"
)

const (
	defaultRegion = "us-east-1"
	// attempts of one request, unless AWS_MAX_ATTEMPTS says another number; with the library's backoff up to 20 s a time, they
	// outlast a server's restart. A server that was never heard of is not waited for as long: see firstContact.
	attempts = 6
	// rotation is how long credentials read from files are used before the files are read again.
	rotation = 5 * time.Minute
)

// openS3 opens a bucket of Amazon S3 or of a server that speaks its protocol.
func openS3(ctx context.Context, name string, o Options) (*blob.Bucket, error) {
	configure, err := transportSettings(o.S3.CAFile, newContact(o.patience(), o.S3.remedy()))
	if err != nil {
		return nil, err
	}
	settings := []func(*config.LoadOptions) error{
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTransportOptions(configure)), config.WithRetryer(retryer),
		// Checksums that only newer servers know are left out where not required: every blob is verified by its digest anyway.
		config.WithRequestChecksumCalculation(aws.RequestChecksumCalculationWhenRequired),
		config.WithResponseChecksumValidation(aws.ResponseChecksumValidationWhenRequired),
		config.WithLogger(nil),
	}
	if o.S3.Region != "" {
		settings = append(settings, config.WithRegion(o.S3.Region))
	}
	if o.CredentialsDir != "" {
		files := fileCredentials(o.CredentialsDir)
		if _, err := files.Retrieve(ctx); err != nil {
			return nil, err
		}
		settings = append(settings, config.WithCredentialsProvider(aws.NewCredentialsCache(files)))
	}
	cfg, err := config.LoadDefaultConfig(ctx, settings...)
	if err != nil {
		return nil, fmt.Errorf("s3://%s: %w", name, err)
	}
	if cfg.Region == "" {
		cfg.Region = defaultRegion
	}
	if o.CredentialsDir == "" && !hasIdentity(ctx, cfg) {
		cfg.Credentials = aws.AnonymousCredentials{}
	}
	if o.S3.Endpoint != "" {
		if err := checkEndpoint(o.S3.Endpoint); err != nil {
			return nil, err
		}
	}
	return s3blob.OpenBucket(ctx, s3.NewFromConfig(cfg, func(options *s3.Options) {
		options.UsePathStyle = o.S3.PathStyle
		if o.S3.Endpoint != "" {
			options.BaseEndpoint = aws.String(o.S3.Endpoint)
		}
	}), name, &s3blob.Options{RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired})
}

// remedy says what to do where the server cannot be reached.
func (o S3Options) remedy() string {
	if o.Endpoint == "" {
		return "set s3.endpoint where the bucket is not Amazon's; else check DNS, proxy and NetworkPolicies"
	}
	check := "check s3.endpoint, the server and NetworkPolicies"
	if !o.PathStyle {
		check += "; without s3.pathStyle the bucket is part of the host"
	}
	return check
}

// retryer tries again what may pass. A certificate that is not trusted does not pass.
func retryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = attempts
		if n, err := strconv.Atoi(os.Getenv("AWS_MAX_ATTEMPTS")); err == nil && n > 0 {
			o.MaxAttempts = n
		}
		o.Backoff = backoff{retry.NewExponentialJitterBackoff(retry.DefaultMaxBackoff)}
		final := retry.IsErrorRetryableFunc(func(err error) aws.Ternary {
			if isUntrusted(err) {
				return aws.FalseTernary
			}
			if again, unheard := firstTries(err); unheard {
				return aws.BoolTernary(again)
			}
			return aws.UnknownTernary
		})
		o.Retryables = append([]retry.IsErrorRetryable{final}, o.Retryables...)
	})
}

// backoff is the library's, without the long pauses before a server that was never heard of.
type backoff struct{ aws retry.BackoffDelayer }

func (b backoff) BackoffDelay(attempt int, err error) (time.Duration, error) {
	if _, unheard := firstTries(err); unheard {
		return time.Second, nil
	}
	return b.aws.BackoffDelay(attempt, err)
}

// hasIdentity reports whether the process has credentials of its own; public buckets are read without.
func hasIdentity(ctx context.Context, cfg aws.Config) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, err := cfg.Credentials.Retrieve(ctx)
	return err == nil
}

// fileCredentials reads credentials from a mounted secret, again and again, as Kubernetes renews the files.
type fileCredentials string

func (dir fileCredentials) Retrieve(context.Context) (aws.Credentials, error) {
	var values [3]string
	for i, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"} {
		var err error
		if values[i], err = credential(string(dir), name); err != nil {
			return aws.Credentials{}, err
		}
	}
	if values[0] == "" || values[1] == "" {
		return aws.Credentials{}, missing("s3", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
	}
	return aws.Credentials{
		AccessKeyID: values[0], SecretAccessKey: values[1], SessionToken: values[2], Source: "credentials secret",
		CanExpire: true, Expires: time.Now().Add(rotation),
	}, nil
}
