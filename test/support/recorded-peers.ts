import { once } from 'node:events';
import { connect } from 'node:tls';
import type { ConnectionOptions, TLSSocket } from 'node:tls';
import { AttestationService } from '../../proto/gen/assay/v1/attestation_pb.ts';
import type { Peer } from '../../proto/service.ts';
import type { TlsIdentity } from '../../proto/tls-identity.ts';
import { echoServices } from './echo.ts';
import { startTestService } from './rpc.ts';
import type { TestService } from './rpc.ts';

/** A service that writes down the peer of each call. */
export async function startRecording(
  peers: Peer[],
  options: Parameters<typeof startTestService>[1] = {},
): Promise<TestService> {
  return startTestService(
    echoServices({
      createChallenge: (_request, { peer }) => {
        peers.push(peer);
        return {};
      },
    }),
    options,
  );
}

export async function call(service: TestService, identity?: TlsIdentity): Promise<void> {
  await service.connect(identity).client(AttestationService).createChallenge({});
}

/** A bare TLS connection; resolves when the server has accepted it, rejects when it has not. */
export async function handshake(service: TestService, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const { port } = service.listener.address();
  const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false, ALPNProtocols: ['h2'], ...options });
  await once(socket, 'secureConnect');
  return socket;
}
