/** TPMS_CAPABILITY_DATA (Part 2 §10.10.2), the arm that tells the PCR banks. */
import { fields, u32, union } from '../codec/structure.ts';
import type { ValueOf } from '../codec/structure.ts';
import { TPM_CAP_PCRS } from './constants.ts';
import { TPML_PCR_SELECTION } from './pcr-selection.ts';

/** For TPM_CAP_PCRS: every implemented bank, with an all-zero bitmap where the bank is not active. */
export const TPMS_CAPABILITY_DATA = union('capability', u32, {
  [TPM_CAP_PCRS]: fields({ assignedPCR: TPML_PCR_SELECTION }),
});
export type TPMS_CAPABILITY_DATA = ValueOf<typeof TPMS_CAPABILITY_DATA>;
