import {
  HostExplanationSchema,
  PolicyChoiceSchema,
  PolicyStandingSchema,
} from '../../proto/gen/assay/v1/host_explanation_pb.ts';
import type { HostExplanation as ExplanationMessage } from '../../proto/gen/assay/v1/host_explanation_pb.ts';
import { enumWord, fromProtoCheck, fromProtoResult, jsonOf, required } from './convert.ts';
import type { AttestationResult, JsonObject } from './resources.ts';

type Check = AttestationResult['checks'][number];

/** Why a policy judges a host or none does, and what of it holds. */
export interface HostExplanation {
  readonly host: string;
  /** NAMED, SELECTED, NONE, AMBIGUOUS, NAMED_MISSING. */
  readonly choice: string;
  readonly trustPolicy: string;
  readonly trustPolicyVersion: bigint;
  readonly candidates: readonly {
    readonly name: string;
    readonly version: bigint;
    readonly precedence: number;
    readonly selects: boolean;
    /** JUDGES, OUTRANKED, TIED, NOT_ASKED. */
    readonly standing: string;
  }[];
  readonly requirements: readonly { readonly description: string; readonly check: Check | undefined }[];
  readonly otherChecks: readonly Check[];
  readonly missing: readonly string[];
  /** Its checks stand in the requirements and the other checks. */
  readonly result: AttestationResult;
  readonly inputs: readonly { readonly name: string; readonly version: bigint }[];
  readonly appraisalInputDigest: string;
  readonly json: JsonObject;
}

export function fromProtoExplanation(message: ExplanationMessage): HostExplanation {
  return {
    host: message.host,
    choice: enumWord(PolicyChoiceSchema, message.choice),
    trustPolicy: message.trustPolicy,
    trustPolicyVersion: message.trustPolicyVersion,
    candidates: message.candidates.map(({ name, version, precedence, selects, standing }) => ({
      name,
      version,
      precedence,
      selects,
      standing: enumWord(PolicyStandingSchema, standing),
    })),
    requirements: message.requirements.map(({ description, check }) => ({
      description,
      check: check === undefined ? undefined : fromProtoCheck(check),
    })),
    otherChecks: message.otherChecks.map(fromProtoCheck),
    missing: message.missing,
    result: fromProtoResult(required(message.result, 'result')),
    inputs: message.inputs.map(({ name, version }) => ({ name, version })),
    appraisalInputDigest: message.appraisalInputDigest,
    json: jsonOf(HostExplanationSchema, message),
  };
}
