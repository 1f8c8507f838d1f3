import type { Endorsements } from '../endorsement/endorsements.ts';
import type { PolicyResolver } from '../policy/policy-resolver.ts';
import type { SharedParts } from '../policy/shared-parts.ts';
import type { RoundCommitter } from '../result/commit.ts';
import type { ChangeFeed } from '../result/feed.ts';
import type { Store } from '../store/store.ts';
import type { BootCache } from '../verifier/boot-cache.ts';
import type { LogBudget } from '../verifier/log-budget.ts';
import type { Beats } from './beats.ts';
import type { HostLimits } from './host-limits.ts';
import type { RuntimeServices } from './runtime-services.ts';
import type { Gathering } from './gathering.ts';
import type { WakeUps } from './wake-ups.ts';

/** What the rounds of all hosts share. */
export interface AttestationServices {
  readonly store: Store;
  readonly committer: RoundCommitter;
  readonly feed: ChangeFeed;
  readonly policies: PolicyResolver;
  readonly endorsements: Pick<Endorsements, 'judge'>;
  readonly boots: BootCache;
  readonly runtimes: RuntimeServices;
  readonly wakeUps: WakeUps;
  readonly gathering: Gathering;
  readonly beats: Beats;
  readonly verdictParts: SharedParts;
  readonly hostLimits: HostLimits;
  readonly random: (size: number) => Buffer;
  readonly logBudget: LogBudget;
  readonly issueClientCertificate: (hostId: string, publicKey: Buffer) => Promise<Buffer>;
}
