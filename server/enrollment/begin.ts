import { sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

import { enrollmentTranscript } from '../../proto/transcript.ts';
import { makeCredentialAsync } from '../../tpm/crypto/make-credential.ts';
import type { Credential } from '../../tpm/crypto/make-credential.ts';
import { objectName } from '../../tpm/crypto/name.ts';
import type { SealingMaster } from '../identity/seal.ts';
import type { Endorsements } from '../endorsement/endorsements.ts';
import type { Admission } from '../store/records.ts';
import { precheckAdmission } from './admission.ts';
import { checkAk } from './ak-rules.ts';
import { checkEks } from './ek-rules.ts';
import type { PresentedEk, SoundEk } from './ek-rules.ts';
import { EnrollmentError } from './enrollment-error.ts';
import { sealState } from './token.ts';
import { WorkQueue } from './work-queue.ts';

/** How long an agent may take between the two calls, milliseconds. */
export const ENROLLMENT_LIFETIME = 60_000;
const SECRET_BYTES = 32;

/** Begins that are judged or given credentials at once, and those that wait for it: a P-521 EK costs 9 ms of CPU. */
const MAX_WORKING = 2;
const MAX_WAITING = 256;

export interface BeginRequest {
  readonly eks: readonly PresentedEk[];
  readonly akPublicArea: Buffer;
  readonly parentIndex: number;
  /** Of the caller's TLS key, as the service saw it. */
  readonly tlsKeySha256: Buffer | null;
}

export interface EnrollmentChallenge {
  readonly enrollmentId: Buffer;
  readonly nonce: Buffer;
  readonly credentials: readonly Credential[];
  readonly tlsKeySha256: Buffer;
  readonly expireMillis: number;
  readonly token: Buffer;
  readonly signature: Buffer;
  /** Of the key that signed, also where a rotation comes between. */
  readonly serviceCertificate: Buffer;
}

/** The service's present keys: a rotation replaces `current`. */
export interface EnrollmentKeys {
  readonly current: {
    /** Newest first: it seals; all of them open. */
    readonly tokenMasters: readonly SealingMaster[];
    readonly serviceIdentity: { readonly key: KeyObject; readonly certificate: Buffer };
  };
}

export interface BeginContext {
  /** The store's clock. */
  readonly now: () => number;
  readonly random: (size: number) => Buffer;
  readonly keys: EnrollmentKeys;
  readonly endorsements: Pick<Endorsements, 'judge'>;
  readonly admission: readonly Admission[];
}

/** The first half of an enrolment: cheap refusals, then credentials that only the host's TPM opens. Stores nothing. */
export class EnrollmentBeginner {
  readonly #context: BeginContext;
  readonly #queue = new WorkQueue({ running: MAX_WORKING, waiting: MAX_WAITING });

  constructor(context: BeginContext) {
    this.#context = context;
  }

  /** Throws {@link EnrollmentError}. */
  async begin(request: BeginRequest): Promise<EnrollmentChallenge> {
    const { random, now } = this.#context;
    const { tlsKeySha256, parentIndex } = request;
    if (tlsKeySha256 === null) {
      throw new EnrollmentError(
        'TLS_KEY_MISSING',
        'enrolment needs a client certificate: it binds the host to its tls key',
      );
    }
    const eks = checkEks(request.eks);
    if (eks[parentIndex] === undefined)
      throw new EnrollmentError('PARENT_INDEX_INVALID', `there is no ek ${parentIndex}`);
    const ak = checkAk(request.akPublicArea);
    const akName = objectName(ak);
    const verdict = await this.#inTurn(() => this.#context.endorsements.judge(eks));
    precheckAdmission(this.#context.admission, verdict);
    const secrets = eks.map(() => random(SECRET_BYTES));
    const credentials = await this.#makeCredentials(eks, akName, secrets);
    const enrollmentId = random(16);
    const nonce = random(32);
    const expireMillis = now() + ENROLLMENT_LIFETIME;
    const ekNames = eks.map(({ name }) => name);
    const facts = { enrollmentId, ekNames, parentIndex, akName, tlsKeySha256, credentials, nonce, expireMillis };
    const transcript = enrollmentTranscript(facts);
    const token = sealState(
      {
        enrollmentId,
        nonce,
        transcript,
        secrets,
        tlsKeySha256,
        expireMillis,
        parentIndex,
        akPublicArea: request.akPublicArea,
        eks: request.eks,
      },
      this.#newestMaster(),
      random,
    );
    const { key, certificate: serviceCertificate } = this.#context.keys.current.serviceIdentity;
    const signature = sign('sha256', transcript, key);
    return { enrollmentId, nonce, credentials, tlsKeySha256, expireMillis, token, signature, serviceCertificate };
  }

  #makeCredentials(
    eks: readonly SoundEk[],
    akName: Buffer,
    secrets: readonly Buffer[],
  ): Promise<readonly Credential[]> {
    return this.#inTurn(() =>
      Promise.all(
        eks.map(({ area }, index) =>
          makeCredentialAsync({ ek: area, akName }, secrets[index] ?? Buffer.alloc(0), this.#context),
        ),
      ),
    );
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#queue.run(work);
    if (done === null) throw new EnrollmentError('ENROLLMENT_BUSY', 'too many hosts enrol at once');
    return await done;
  }

  #newestMaster(): SealingMaster {
    const [master] = this.#context.keys.current.tokenMasters;
    if (master === undefined) throw new TypeError('no token master');
    return master;
  }
}
