/** What the load generator knows of the hosts that it plays; a file between two processes. Bytes are base64. */
export interface Fleet {
  readonly hosts: readonly FleetHost[];
  /** All agents share a TLS key, PKCS#8 PEM: a certificate each, but one key to make. */
  readonly tlsKey: string;
  readonly tlsKeySha256: string;
  /** Client certificate of an identity that may watch, for the same key. */
  readonly watcherCertificate: string;
}

export interface FleetHost {
  readonly id: string;
  readonly certificate: string;
  readonly akName: string;
  readonly qualifiedName: string;
  /** PKCS#8 DER. */
  readonly akKey: string;
}

export const BOOT_LOG_BYTES = 4_096;
export const IMA_LOG_BYTES = 8_192;
