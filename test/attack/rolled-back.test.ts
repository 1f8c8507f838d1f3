/** What a machine can do that owns its TPM, as the host of a virtual machine does: known, and not seen. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

import { expect, it } from 'vitest';

import { createChallenge, submitEvidence } from '../../server/attestation/single-round.ts';
import { completeEnrollment } from '../../server/enrollment/complete.ts';
import type { ResultRecord } from '../../server/store/records.ts';
import { FakeClock } from '../server/store/contract/harness.ts';
import { feedOf } from '../support/evidence-builder.ts';
import { RealHost } from '../support/real-evidence.ts';
import { startSwtpm } from '../support/swtpm.ts';
import { importCertificates, openHouse, putPolicy } from '../support/test-service.ts';
import { tapTpm } from '../support/tpm-wiretap.ts';

const PCR = 16;
const GOOD = { bank: 'sha256', index: PCR, allowed: ['00'.repeat(32)], severity: undefined, message: '' };

it('a virtual TPM that is put back to an earlier moment of the same boot is not seen by its counters', async () => {
  const swtpm = await startSwtpm();
  try {
    const clock = new FakeClock();
    clock.wall = Date.now();
    await using house = await openHouse({ clock, anchors: false });
    await importCertificates(house.store, ...swtpm.caCertificates.map(({ pem }) => Buffer.from(pem)));
    await putPolicy(house.store, { pcrRules: [GOOD] });
    await using tapped = await tapTpm(swtpm, {});
    await using host = await RealHost.open(tapped.tcti);
    const proof = await host.proof(house, []);
    const { host: enrolled } = await completeEnrollment(house.complete, {
      proof,
      caller: host.caller,
      nextChunk: feedOf([]),
    });
    const { id } = enrolled;
    const caller = {
      hostId: id,
      tlsKeySha256: host.tls.sha256.toString('hex'),
      expires: house.store.now() + 86_400_000,
    };
    const judged = async (): Promise<ResultRecord> => {
      clock.advance(2_000);
      const hello = { akName: host.akName.toString('hex'), boot: { resetCount: 0, restartCount: 0 } };
      const { challenge, token } = await createChallenge(house.services, caller, hello);
      const logs = challenge.logs.map(({ kind, offset }) => ({ kind, data: Buffer.from('log'), offset }));
      const made = await host.evidence(id, challenge, logs);
      const none = { size: 0, sha256: Buffer.alloc(0), unreadable: 'none' };
      const evidence = { ...made, logs: challenge.logs.map(({ kind, offset }) => ({ kind, offset, ...none })) };
      return (await submitEvidence(house.services, caller, { token, evidence, nextChunk: feedOf([]) })).result;
    };
    const counters = async () => (await house.store.getHost(id))?.clock;
    const control = (...args: readonly string[]) =>
      execFileSync('swtpm_ioctl', ['--unix', join(swtpm.directory, 'socket.ctrl'), ...args]);
    const states = ['permanent', 'volatile'].map((kind) => [kind, join(swtpm.directory, `saved-${kind}`)] as const);

    expect((await judged()).status).toBe('affirming');
    const before = await counters();
    for (const [kind, file] of states) control('--save', kind, file);
    const tcti = `swtpm:path=${join(swtpm.directory, 'socket')}`;
    execFileSync('tpm2_pcrextend', ['-T', tcti, `${PCR}:sha256=${'11'.repeat(32)}`]);
    expect((await judged()).status).toBe('contraindicated');

    control('--stop');
    for (const [kind, file] of states) control('--load', kind, file);
    control('-i');
    expect((await judged()).status).toBe('affirming');
    const after = await counters();
    expect(after).toMatchObject({ resetCount: before?.resetCount, restartCount: before?.restartCount });
  } finally {
    await swtpm.stop();
  }
});
