package artifact

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"slices"
	"syscall"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	"gocloud.dev/gcerrors"
	"google.golang.org/api/googleapi"
)

// What is wrong with a place, for errors.Is.
var (
	// ErrNotFound says that there is nothing of that name.
	ErrNotFound = errors.New("not found")
	// ErrDenied says that credentials are missing, wrong or not enough.
	ErrDenied = errors.New("access denied")
	// ErrTemporary says that the place could not be reached or was busy: the same may succeed later.
	ErrTemporary = errors.New("not reachable for now")
	// ErrDamaged says that content is not what its digest says.
	ErrDamaged = errors.New("damaged")
	// ErrTooLarge says that content does not fit the room set aside for it.
	ErrTooLarge = errors.New("too large")
	// ErrBadAddress says that an address is none, or none that leads anywhere here.
	ErrBadAddress = errors.New("the address is wrong")
)

// codes of S3 servers, by what they mean.
var (
	deniedCodes = []string{"AccessDenied", "Forbidden", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken",
		"TokenRefreshRequired", "AccountProblem", "AllAccessDisabled", "InvalidSecurity", "NotSignedUp", "UnauthorizedAccess"}
	missingCodes   = []string{"NoSuchBucket", "NoSuchKey", "NotFound", "PermanentRedirect"}
	temporaryCodes = []string{"SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "Throttling", "ThrottlingException", "RequestLimitExceeded", "OperationAborted", "BadGateway"}
)

// explain gives an error of place its kind and, where there is one, a remedy. A nil error stays nil, and so does one that has a kind.
func explain(place string, err error) error {
	if err == nil {
		return nil
	}
	for _, known := range []error{ErrNotFound, ErrDenied, ErrTemporary, ErrDamaged, ErrTooLarge, context.Canceled} {
		if errors.Is(err, known) {
			return err
		}
	}
	switch code := codeOf(err); {
	case isUntrusted(err):
		return fmt.Errorf("%s: %w: the server's certificate is not trusted: put its CA into ca.crt of the secret that s3.caSecretRef names, for `espalier run` into the file that AWS_CA_BUNDLE names (%w)", place, ErrDenied, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: %w: files are of another user: set template.securityContext.fsGroup or runAsUser (%w)", place, ErrDenied, err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%s: the disk is full: make room and try again, what is finished is not repeated (%w)", place, err)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%s: the file system cannot be written to: choose another place (%w)", place, err)
	case code == "NoSuchBucket", code == "PermanentRedirect":
		return fmt.Errorf("%s: %w: there is no such bucket at this endpoint and region", place, ErrNotFound)
	case errors.Is(err, fs.ErrNotExist), slices.Contains(missingCodes, code):
		return fmt.Errorf("%s: %w", place, ErrNotFound)
	case code == "AuthorizationHeaderMalformed":
		return fmt.Errorf("%s: %w: set s3.region to the bucket's region (%w)", place, ErrDenied, err)
	case code == "RequestTimeTooSkewed":
		return fmt.Errorf("%s: %w: the clocks of this machine and of the server are too far apart", place, ErrDenied)
	case slices.Contains(deniedCodes, code):
		return fmt.Errorf("%s: %w (%s): check the credentials and that they may get, put, delete and list", place, ErrDenied, code)
	case isTemporary(err, code):
		return &temporaryError{place, err}
	default:
		return fmt.Errorf("%s: %w", place, err)
	}
}

// temporaryError is an ErrTemporary of a place. A server that cannot be reached comes first in its text, which may be cut short where it
// is shown; so does the server's own word for what is wrong.
type temporaryError struct {
	place string
	err   error
}

func (e *temporaryError) Error() string {
	var unreachable *unreachableError
	var api smithy.APIError
	switch {
	case errors.As(e.err, &unreachable):
		return fmt.Sprintf("%s (%s)", unreachable, e.place)
	case errors.As(e.err, &api):
		return fmt.Sprintf("%s: %s: %s %s", e.place, ErrTemporary, api.ErrorCode(), api.ErrorMessage())
	}
	return fmt.Sprintf("%s: %s: %s", e.place, ErrTemporary, e.err)
}

func (e *temporaryError) Unwrap() []error { return []error{ErrTemporary, e.err} }

// codeOf is the service's own word for an error where S3 gives one, else that of the HTTP status or of the library.
func codeOf(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	switch status := statusOf(err); {
	case status == http.StatusNotFound, status == http.StatusMovedPermanently:
		return "NotFound"
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return "Forbidden"
	case status >= http.StatusInternalServerError, status == http.StatusTooManyRequests:
		return "ServiceUnavailable"
	}
	switch gcerrors.Code(err) {
	case gcerrors.NotFound:
		return "NotFound"
	case gcerrors.PermissionDenied:
		return "Forbidden"
	case gcerrors.ResourceExhausted, gcerrors.DeadlineExceeded:
		return "ServiceUnavailable"
	}
	return ""
}

// statusOf is the HTTP status of the answer that an error is about, 0 where there was none.
func statusOf(err error) int {
	var amazon *awshttp.ResponseError
	var google *googleapi.Error
	var azure *azcore.ResponseError
	switch {
	case errors.As(err, &amazon):
		return amazon.HTTPStatusCode()
	case errors.As(err, &google):
		return google.Code
	case errors.As(err, &azure):
		return azure.StatusCode
	}
	return 0
}

// isUntrusted reports whether a server's certificate is the problem.
func isUntrusted(err error) bool {
	var unknownAuthority x509.UnknownAuthorityError
	var wrongHost x509.HostnameError
	var invalid x509.CertificateInvalidError
	return errors.As(err, &unknownAuthority) || errors.As(err, &wrongHost) || errors.As(err, &invalid)
}

// isTemporary reports whether a network, a server or a file system is only busy or away.
func isTemporary(err error, code string) bool {
	var number syscall.Errno // one of a file system is a net.Error too, in form
	if errors.As(err, &number) {
		return number.Timeout() || slices.Contains(temporaryNumbers, number)
	}
	var network net.Error
	return slices.Contains(temporaryCodes, code) || errors.As(err, &network) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.ErrUnexpectedEOF)
}

// temporaryNumbers are errors of the operating system that pass.
var temporaryNumbers = []syscall.Errno{
	syscall.ESTALE, syscall.EAGAIN, syscall.EIO, syscall.EINTR, syscall.EPIPE, syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.ECONNABORTED,
	syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.ENETDOWN, syscall.EHOSTDOWN, syscall.ETIMEDOUT, syscall.EADDRNOTAVAIL,
}
