import { UsageError } from '../../../client/failure.ts';
import { decodeLogFile } from '../../../client/inspect/eventlog-input.ts';
import { readImaInput } from '../../../client/inspect/ima-input.ts';
import { CodecError } from '../../../tpm/codec/codec-error.ts';
import { formatDevicePath } from '../../../tpm/eventlog/device-path.ts';
import { describeEventData } from '../../../tpm/eventlog/describe-event.ts';
import { decodeEventData } from '../../../tpm/eventlog/event-data.ts';
import { EVENT_TYPES } from '../../../tpm/eventlog/event-types.ts';
import { readGptEvent } from '../../../tpm/eventlog/gpt.ts';
import { readEventLog } from '../../../tpm/eventlog/read-event-log.ts';
import { SignatureLists } from '../../../tpm/eventlog/signature-list.ts';
import { readSigners } from '../../../tpm/eventlog/signers.ts';
import { EFI_GLOBAL_VARIABLE, EFI_IMAGE_SECURITY_DATABASE, readVariable } from '../../../tpm/eventlog/uefi-variable.ts';
import { examineEntry } from '../../../tpm/ima/examine.ts';
import { checkFileSignature } from '../../../tpm/ima/file-signature.ts';
import { imaHashByName } from '../../../tpm/ima/hash-names.ts';
import { ImaKeyring, readImaKey } from '../../../tpm/ima/keyring.ts';
import { checkModsig } from '../../../tpm/ima/modsig.ts';
import { ImaListReader } from '../../../tpm/ima/parse.ts';
import { makeRoot } from '../../support/test-ek-pki.ts';
import { bare, certificate, withAttributes } from '../../tpm/ima/cms-signatures.ts';
import { digestField, makeRecord, nameField } from '../../tpm/ima/list-builder.ts';
import { rsaSigner, signV2, signV3 } from '../../tpm/ima/signing.ts';
import { drain } from '../../tpm/ima/read-entries.ts';
import {
  makeLog,
  makeSignatureList,
  makeVariable,
  SHA256_TYPE,
  u32,
  u64,
  X509_TYPE,
} from '../../tpm/eventlog/make-log.ts';
import { BrokenPromise, reader } from '../target.ts';
import type { Target } from '../target.ts';

const LISTS = Buffer.concat([
  makeSignatureList(X509_TYPE, [makeRoot()]),
  makeSignatureList(
    SHA256_TYPE,
    [1, 2, 3].map((digit) => Buffer.alloc(32, digit)),
  ),
]);
const VARIABLES = [
  makeVariable(EFI_IMAGE_SECURITY_DATABASE, 'db', LISTS),
  makeVariable(EFI_GLOBAL_VARIABLE, 'SecureBoot', Buffer.from([1])),
  makeVariable(EFI_GLOBAL_VARIABLE, 'BootOrder', Buffer.from([0, 0, 1, 0])),
];
const PATH = Buffer.from('02010c00d041030a00000000010106001f02040414005c0045004600490000007fff0400', 'hex');
const GPT = Buffer.concat([
  Buffer.from('EFI PART'),
  Buffer.alloc(72),
  u32(1),
  u32(128),
  u32(0),
  u64(1),
  Buffer.alloc(128, 7),
]);
const TYPES = [...EVENT_TYPES.keys()];
const DIGEST = {
  algorithm: 'sha256',
  hash: imaHashByName('sha256'),
  of: 'untold',
  value: Buffer.alloc(32, 1),
} as const;
const TEMPLATES = ['ima', 'ima-ng', 'ima-sig', 'ima-buf', 'ima-modsig', 'ima-ngv2', 'ima-sigv2', 'evm-sig', 'd|n'];

/** The readers inside of logs, reached without the digests and lengths around them, which mutants seldom keep. */
export function partTargets(): Readonly<Record<string, () => Target>> {
  const signer = rsaSigner(1024);
  const keyring = new ImaKeyring([signer.key, readImaKey(certificate)]);
  const digest = Buffer.alloc(32, 1);
  const fields = [digestField('sha256', digest), nameField('/usr/bin/true'), signV2(signer, 'sha256', digest)];
  return {
    /** The data of an event under each type, with the digest that belongs to it: what is shown as verified is read, too. */
    'event-data': () =>
      reader([...VARIABLES, GPT, Buffer.concat([u64(1), u64(2), u64(0), u64(PATH.length), PATH])], [], (input) => {
        const events = TYPES.map((type) => ({ pcr: 7, type, data: input }));
        const reading = readEventLog(makeLog(events));
        readSigners(reading.secureBoot);
        for (const event of reading.log.events) describeEventData(decodeEventData(event));
        if (reading.log.events.length !== events.length + 1) throw new BrokenPromise('an event is lost');
      }),
    'signature-lists': () => reader([LISTS], [CodecError], (input) => SignatureLists.read(input).signatures.length),
    'uefi-variable': () => reader(VARIABLES, [], (input) => readVariable(input)),
    'gpt-event': () => reader([GPT], [], (input) => readGptEvent(input)),
    'device-path': () =>
      reader([PATH], [], (input) => {
        // At most two digits a byte and the names of 64 nodes.
        if (formatDevicePath(input).length > 2 * input.length + 64 * 64)
          throw new BrokenPromise('a text without bound');
      }),
    /** Fields of an entry under each template, with a template hash that is right. */
    'ima-fields': () =>
      reader([Buffer.concat(fields), ...fields], [], (input) => {
        for (const template of TEMPLATES) {
          const list = new ImaListReader();
          list.push(makeRecord({ template, fields: [input] }));
          for (const entry of drain(list)) examineEntry(entry, keyring);
        }
      }),
    'ima-file-signature': () =>
      reader([signV2(signer, 'sha256', digest), signV3(signer, 'sha256', digest)], [], (input) => {
        checkFileSignature(input, DIGEST, keyring);
      }),
    'ima-modsig': () =>
      reader([bare, withAttributes], [], (input) => {
        if (checkModsig(input, DIGEST, keyring).kind === 'valid')
          throw new BrokenPromise('took a signature over other bytes');
      }),
    /** What `assay inspect` takes as a file: binary, Base64 or ASCII, as the bytes tell. */
    'offline-log-file': () =>
      reader(
        [makeLog([]), Buffer.from(makeLog([]).toString('base64')), makeRecord({ template: 'ima-ng', fields })],
        [UsageError],
        (input) => {
          readEventLog(decodeLogFile(input));
          readImaInput(input);
        },
      ),
  };
}
