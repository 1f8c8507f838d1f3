import { expect, test } from 'vitest';
import { decodeLogFile } from '../../../client/inspect/eventlog-input.ts';
import { makeLog } from '../../tpm/eventlog/make-log.ts';

const log = makeLog([{ pcr: 0, type: 8, data: Buffer.from('v') }]);

test.each<[string, Buffer]>([
  ['binary', log],
  ['base64 on one line', Buffer.from(log.toString('base64'))],
  ['base64 on many lines', Buffer.from(log.toString('base64').replaceAll(/(.{60})/g, '$1\r\n'))],
])('a log is read: %s', (_, content) => {
  expect(decodeLogFile(content)).toEqual(log);
});

test.each<[string, Buffer]>([
  ['nothing', Buffer.alloc(0)],
  ['other text', Buffer.from('bogus: text\n')],
  ['base64 with bytes after its padding', Buffer.from('AAAA==AA')],
])('what is no base64 is left as it is: %s', (_, content) => {
  expect(decodeLogFile(content)).toEqual(content);
});
