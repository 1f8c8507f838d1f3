/**
 * Departures from a specification that real hardware shows and that are accepted, each by its name. Every one of them
 * is reported with the verdict; anything that is not in this table is refused.
 */
export const DEVIATION = {
  NV_HEADER: 'the certificate was wrapped in the header of the TCG PC Client NV format (10 01 00, length)',
  TRAILING_BYTES: 'bytes follow the certificate, as padding of the NV index does',
  EXPLICIT_DEFAULT: 'a default value is encoded, which DER does not allow (X.690 §11.5)',
  NON_MINIMAL_INTEGER: 'an integer has superfluous leading octets, which DER does not allow (X.690 §8.3.2)',
  SERIAL_LEADING_ZERO: 'the serial number has superfluous leading zeros',
  RSAES_OAEP_KEY: 'the key is labelled id-RSAES-OAEP and was read as rsaEncryption',
  COMPRESSED_POINT: 'the elliptic curve point is compressed and was expanded',
  ALGORITHM_PARAMETERS: 'the parameters of a signature algorithm are not those of its specification',
  EMPTY_SUBJECT: 'the subject is empty; the critical alternative name stands for it',
  NAME_TOO_LONG: 'a name is longer than X.520 allows',
  NAME_ENCODING: 'an issuer is named in another string type or letter case than in its own certificate',
  NO_EXPIRY: 'the certificate never expires (9999-12-31)',
  ISSUER_EXPIRED: 'a certificate of the issuing chain has expired, after it issued the one below it',
  AKI_ABSENT: 'the certificate does not say which key of its issuer signed it',
  BASIC_CONSTRAINTS_ABSENT: 'basic constraints are absent, which reads as: not a CA',
  CRITICALITY: 'an extension is not marked critical, or is, against the profile',
  TPM_ATTRIBUTE_ABSENT: 'the model or the version of the TPM is not named',
  TPM_ATTRIBUTE_UNKNOWN: 'the alternative name holds attributes that the profile does not know',
  MANUFACTURER_FORM: 'the manufacturer is not written as id: and eight hexadecimal digits',
  CRL_STALE: 'the revocation list that was used is past its next update',
} as const;

export type DeviationCode = keyof typeof DEVIATION;

export interface Deviation {
  readonly code: DeviationCode;
  /** Where it was seen. */
  readonly detail: string;
}
