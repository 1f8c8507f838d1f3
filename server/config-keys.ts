/** One row per key: docs/operations.md shows the same table, and a test holds it to this one. */
export const CONFIG_KEYS = {
  listen: { default: '0.0.0.0:8443', meaning: 'address and port of the gRPC listener; port 0 lets the system choose' },
  web_listen: {
    default: '',
    meaning: 'address and port of the HTTPS listener, which serves the keys of tokens; empty for none',
  },
  data_directory: { default: './assay-data', meaning: 'where the store lives; relative to the configuration file' },
  server_names: { default: ['localhost', '127.0.0.1'], meaning: 'DNS names and addresses in the TLS certificate' },
  root_key_file: {
    default: '',
    meaning:
      'file with the key that seals the stored keys; default DATA_DIRECTORY/root.key; the environment variable ASSAYD_ROOT_KEY wins',
  },
  admission: { default: ['certificate'], meaning: 'ways into the service, any of certificate, inventory, approval' },
  admission_boot_policy: { default: '', meaning: 'trust policy that the boot of a host must satisfy to enrol' },
  max_pending_hosts: { default: 1000, meaning: 'hosts that may wait for approval at once' },
  pending_host_lifetime: { default: '7d', meaning: 'how long a host may wait for approval before it is deleted' },
  agent_certificate_lifetime: {
    default: '24h',
    meaning: "life of an agent's client certificate, renewed at half of it",
  },
  ak_certificate_lifetime: { default: '30d', meaning: 'life of an AK certificate' },
  identity_certificate_lifetime: {
    default: '90d',
    meaning: 'life of the client certificate of an operator or program',
  },
  history_retention: { default: '30d', meaning: 'how far history, resumed watches and logs of ended boots go back' },
  max_token_ttl: { default: '5m', meaning: 'longest life of a signed token; none outlives its result' },
  max_connections_per_address: {
    default: 1000,
    meaning:
      'connections that one address, or one /64 of IPv6, may have open; more where hosts come through one address',
  },
  reflection: { default: true, meaning: 'whether gRPC reflection is served' },
  log_level: { default: 'info', meaning: 'one of trace, debug, info, warn, error' },
} as const;
