/** Makers of TPMs by their vendor id (TCG TPM Vendor ID Registry 1.07). An id without a row is no fault. */
export const TPM_VENDORS: Readonly<Record<string, string>> = {
  AMD: 'AMD',
  ANT: 'Ant Group',
  ATML: 'Atmel',
  BRCM: 'Broadcom',
  CSCO: 'Cisco',
  FLYS: 'Flyslice Technologies',
  GOOG: 'Google',
  HISI: 'Huawei',
  HPE: 'HPE',
  HPI: 'HPI',
  IBM: 'IBM',
  IFX: 'Infineon',
  INTC: 'Intel',
  LEN: 'Lenovo',
  MSFT: 'Microsoft',
  NSM: 'National Semiconductor',
  NTC: 'Nuvoton Technology',
  NTZ: 'Nationz',
  QCOM: 'Qualcomm',
  ROCC: 'Fuzhou Rockchip',
  SMSC: 'SMSC',
  SMSN: 'Samsung',
  SNS: 'Sinosun',
  STM: 'STMicroelectronics',
  TXN: 'Texas Instruments',
  WEC: 'Winbond',
};

/** The maker's name; a name of the object's own prototype is none. */
export function tpmVendor(id: string): string | undefined {
  return Object.hasOwn(TPM_VENDORS, id) ? TPM_VENDORS[id] : undefined;
}
