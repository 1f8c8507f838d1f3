/**
 * Made once with OpenSSL 3.0.19 over the bytes below by a P-256 key whose certificate is the first:
 * `openssl cms -sign -binary -noattr -nocerts -md sha256`, and `-keyid -md sha512` with signed attributes.
 */
export const content = 'the bytes of a module';
export const certificate = Buffer.from(
  'MIIBeTCCAR+gAwIBAgIUJHxUhG6HsTAw5sg8TFIlT56s34UwCgYIKoZIzj0EAwIwETEPMA0GA1UEAwwGbW9kc2lnMCAXDTI2MTEyNTE3MDE1OVoYDzIxMjYxMTAxMTcwMTU5WjARMQ8wDQYDVQQDDAZtb2RzaWcwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQXEy4uOeYQ1Z2Hhcsvp+bq+oYutwDGQTFDJBpXd/APjE/Fuyzd0vjaNyIIbGUAWep0LX21xlUrXZpVaBT0iMGbo1MwUTAdBgNVHQ4EFgQUr5x+QIUHdV3qQ+W93aivG0jX120wHwYDVR0jBBgwFoAUr5x+QIUHdV3qQ+W93aivG0jX120wDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiEA1rCUlWEEe7vWWlR1OBMK+Wry/pgZp6oSdIhlXm22+hUCIDOh+ej0aiP+X0Mt7JaU3Awl/U2H4NgiCnoVwsvjIMDa',
  'base64',
);
export const bare = Buffer.from(
  'MIHGBgkqhkiG9w0BBwKggbgwgbUCAQExDTALBglghkgBZQMEAgEwCwYJKoZIhvcNAQcBMYGTMIGQAgEBMCkwETEPMA0GA1UEAwwGbW9kc2lnAhQkfFSEboexMDDmyDxMUiVPnqzfhTALBglghkgBZQMEAgEwCgYIKoZIzj0EAwIERzBFAiBrQTeKby0hrwAIsWnWhPQIu4Bah2xeItAVqVnSzAh0uAIhAPKj6gyHsZxzT3pncnQ+MPRzK9bxRcBpHgKOskaOOPsu',
  'base64',
);
export const withAttributes = Buffer.from(
  'MIIBQQYJKoZIhvcNAQcCoIIBMjCCAS4CAQMxDTALBglghkgBZQMEAgMwCwYJKoZIhvcNAQcBMYIBCzCCAQcCAQOAFK+cfkCFB3Vd6kPlvd2orxtI19dtMAsGCWCGSAFlAwQCA6CBiTAYBgkqhkiG9w0BCQMxCwYJKoZIhvcNAQcBMBwGCSqGSIb3DQEJBTEPFw0yNjExMjUxNzAxNTlaME8GCSqGSIb3DQEJBDFCBEDdJGm4TtNh+9UKAYJYnH7542OOnGGOnhfbrKeyFZQKe5cdZWpzRHHfqnKZYQnnQAda7bYD1EterV0Z/CdKP+S9MAoGCCqGSM49BAMEBEcwRQIhAPff8M+49QHYP/5bD3XEWkEJSL2iNMjGtzAyrN4/nnhcAiA2iIUfG/WgEgKJbWmApogFHQwrt61DDpfTIwETXfIn8w==',
  'base64',
);
