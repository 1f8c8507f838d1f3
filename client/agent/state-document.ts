import type { AkAlgorithm } from './host-tpm.ts';
import { AgentError } from './agent-error.ts';

/** Format of the state document. A release reads its own format and says so plainly of any other. */
export const STATE_FORMAT = 1;

/** An AK as TPM2_Create returned it: it loads under its parent EK in this TPM alone. */
export interface StoredAk {
  /** TPM2B_PUBLIC */
  readonly publicBlob: Buffer;
  /** TPM2B_PRIVATE, encrypted by the TPM. */
  readonly privateBlob: Buffer;
  /** Name of the parent EK. */
  readonly parentName: Buffer;
}

/** A TLS key under which a host speaks, and its client certificate. */
export interface TlsIdentity {
  /** PKCS#8 PEM, P-256. */
  readonly privateKey: string;
  /** X.509 DER. */
  readonly certificate: Buffer;
}

/** A TLS key that is to follow the present one; without a certificate until the service has issued one. */
export interface Renewal {
  readonly privateKey: string;
  readonly certificate?: Buffer;
}

/** What stays true over restarts of the agent. */
export interface AgentState {
  /** HOST:PORT */
  readonly server: string;
  /** The pinned CA, `sha256:` and 64 hexadecimal digits. */
  readonly pin: string;
  /** Certificate of that CA, X.509 DER. */
  readonly authority: Buffer;
  readonly tcti: string;
  readonly akAlgorithm: AkAlgorithm;
  /** Paths of the measurement logs. */
  readonly logs: { readonly boot: string; readonly userspace: string; readonly ima: string };
  /** The TLS key for enrolment, and from then on the one of the client certificate. PKCS#8 PEM, P-256. */
  readonly tlsKey: string;
  readonly ak?: StoredAk;
  /** What the service said when it enrolled the host. */
  readonly enrolled?: {
    /** `h-…` */
    readonly hostId: string;
    /** X.509 DER */
    readonly clientCertificate: Buffer;
    /** X.509 DER; empty where none was issued. */
    readonly akCertificate: Buffer;
    /** Name of the AK that was enrolled; an AK of another name has yet to be. */
    readonly akName: Buffer;
  };
  readonly renewal?: Renewal;
}

/** JSON of a state; bytes in base64. */
export function encodeState(state: AgentState): string {
  const document = { format: STATE_FORMAT, ...state };
  return `${JSON.stringify(document, replaceBytes, 2)}\n`;
}

/** Throws {@link AgentError} `state_malformed` with the place, or `state_format`. */
export function decodeState(text: string): AgentState {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (cause) {
    throw new AgentError('state_malformed', 'the state is not JSON', { cause });
  }
  const document = new Section(parsed, 'state');
  const format = document.raw('format');
  if (format !== STATE_FORMAT) {
    throw new AgentError('state_format', `the state has format ${String(format)}, this release reads ${STATE_FORMAT}`);
  }
  const logs = document.section('logs');
  const ak = document.optionalSection('ak');
  const enrolled = document.optionalSection('enrolled');
  const renewal = document.optionalSection('renewal');
  return {
    server: document.text('server'),
    pin: document.text('pin'),
    authority: document.bytes('authority'),
    tcti: document.text('tcti'),
    akAlgorithm: akAlgorithmOf(document.text('akAlgorithm')),
    logs: { boot: logs.text('boot'), userspace: logs.text('userspace'), ima: logs.text('ima') },
    tlsKey: document.text('tlsKey'),
    ...(ak === undefined ? {} : { ak: decodeAk(ak) }),
    ...(enrolled === undefined ? {} : { enrolled: decodeEnrolled(enrolled) }),
    ...(renewal === undefined ? {} : { renewal: decodeRenewal(renewal) }),
  };
}

function decodeAk(section: Section): StoredAk {
  return {
    publicBlob: section.bytes('publicBlob'),
    privateBlob: section.bytes('privateBlob'),
    parentName: section.bytes('parentName'),
  };
}

function decodeEnrolled(section: Section): NonNullable<AgentState['enrolled']> {
  return {
    hostId: section.text('hostId'),
    clientCertificate: section.bytes('clientCertificate'),
    akCertificate: section.bytes('akCertificate'),
    akName: section.bytes('akName'),
  };
}

function decodeRenewal(section: Section): Renewal {
  const privateKey = section.text('privateKey');
  return section.has('certificate') ? { privateKey, certificate: section.bytes('certificate') } : { privateKey };
}

function akAlgorithmOf(text: string): AkAlgorithm {
  if (text === 'ecdsa-p256-sha256' || text === 'rsassa-2048-sha256') return text;
  throw new AgentError('state_malformed', 'state.akAlgorithm is not one that this release knows');
}

function replaceBytes(this: unknown, key: string, value: unknown): unknown {
  // Buffer.prototype.toJSON has run by now: look at the property itself.
  const original = (this as Readonly<Record<string, unknown>>)[key];
  return original instanceof Uint8Array ? Buffer.from(original).toString('base64') : value;
}

/** One object of the document; whatever is not as it must be is said with its path. */
class Section {
  readonly #fields: Readonly<Record<string, unknown>>;
  readonly #path: string;

  constructor(value: unknown, path: string) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new AgentError('state_malformed', `${path} is not an object`);
    }
    this.#fields = value as Readonly<Record<string, unknown>>;
    this.#path = path;
  }

  has(name: string): boolean {
    return this.#fields[name] !== undefined;
  }

  raw(name: string): unknown {
    return this.#fields[name];
  }

  text(name: string): string {
    const value = this.#fields[name];
    if (typeof value !== 'string') throw new AgentError('state_malformed', `${this.#path}.${name} is not a text`);
    return value;
  }

  bytes(name: string): Buffer {
    const text = this.text(name);
    const bytes = Buffer.from(text, 'base64');
    if (bytes.toString('base64') !== text) {
      throw new AgentError('state_malformed', `${this.#path}.${name} is not base64`);
    }
    return bytes;
  }

  section(name: string): Section {
    return new Section(this.#fields[name], `${this.#path}.${name}`);
  }

  optionalSection(name: string): Section | undefined {
    return this.has(name) ? this.section(name) : undefined;
  }
}
