// What vitest's JSON report says, for CI: which files failed, and how many tests passed, failed and were skipped.
//
//   node scripts/test-results.mjs failed REPORT          the files that failed, one a line
//   node scripts/test-results.mjs count REPORT [AGAIN]   `PASSED FAILED SKIPPED`; files of AGAIN stand for those of REPORT
//   node scripts/test-results.mjs explain REPORT [AGAIN] each failure with its first words, and what passed AGAIN
import { readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { root } from './process.mjs';

const wordsOfFailure = 400;

const [command, first, again] = process.argv.slice(2);
const files = read(first);
const filesAgain = again === undefined ? new Map() : read(again);
const answer = { failed: listFailed, count: countTests, explain: explainFailures }[command];
if (answer === undefined) throw new Error(`unknown command: ${command}`);
for (const line of answer()) console.log(line);

/** Results by file. A file that did not load has no tests and one failure of its own. */
function read(path) {
  const { testResults } = JSON.parse(readFileSync(path, 'utf8'));
  return new Map(
    testResults.map((file) => {
      const tests = file.assertionResults.map((test) => ({
        name: test.fullName,
        status: test.status,
        words: (test.failureMessages ?? []).join('\n'),
      }));
      const brokenOutside = file.status === 'failed' && tests.every((test) => test.status !== 'failed');
      if (brokenOutside) tests.push({ name: '(the file itself)', status: 'failed', words: file.message ?? '' });
      return [relative(root, file.name), tests];
    }),
  );
}

function listFailed() {
  return [...files].filter(([, tests]) => tests.some(failed)).map(([name]) => name);
}

function countTests() {
  const tests = [...new Map([...files, ...filesAgain]).values()].flat();
  const count = (statuses) => tests.filter((test) => statuses.includes(test.status)).length;
  return [`${count(['passed'])} ${count(['failed'])} ${tests.length - count(['passed', 'failed'])}`];
}

function explainFailures() {
  return [...files].flatMap(([name, tests]) =>
    tests.filter(failed).map((test) => {
      const passedAgain = filesAgain.has(name) && !filesAgain.get(name).some(failed);
      const verdict = passedAgain ? 'failed beside others, passed alone' : 'failed';
      return `${verdict}: ${name} > ${test.name}\n    ${test.words.slice(0, wordsOfFailure).replaceAll('\n', '\n    ')}`;
    }),
  );
}

function failed(test) {
  return test.status === 'failed';
}
