// Node's OpenFeature clients: each tells one line of JSON whenever the value that it reads is another one.
// usage: node clients.mjs AGENT_URL GRPC_PORT FLAGS_FILE FLAG
import { EventSource } from 'eventsource';
import { OpenFeature, ProviderEvents } from '@openfeature/server-sdk';
import { OFREPProvider } from '@openfeature/ofrep-provider';
import { FlagdProvider } from '@openfeature/flagd-provider';
import { OpenFeature as Web } from '@openfeature/web-sdk';
import { OFREPWebProvider } from '@openfeature/ofrep-web-provider';

globalThis.EventSource = EventSource;
const [url, port, file, flag] = process.argv.slice(2);
const seen = {};

function tell(client, value, more = {}) {
  if (seen[client] === value) return;
  seen[client] = value;
  const at = (performance.timeOrigin + performance.now()) / 1000;
  console.log(JSON.stringify({ client, value, at, ...more }));
}

async function server(client, provider, pause) {
  // One that is not ready within its own deadline goes on trying by itself.
  await OpenFeature.setProviderAndWait(client, provider).catch(() => {});
  const reader = OpenFeature.getClient(client);
  const look = async () => {
    const details = await reader.getStringDetails(flag, 'unreachable');
    tell(client, details.value, { reason: details.reason, variant: details.variant });
  };
  reader.addHandler(ProviderEvents.Ready, look);
  reader.addHandler(ProviderEvents.ConfigurationChanged, look);
  await look();
  if (pause) {
    for (;;) {
      await new Promise((done) => setTimeout(done, pause));
      await look();
    }
  }
}

async function web() {
  const provider = new OFREPWebProvider({ baseUrl: url, pollInterval: 0 });
  await Web.setProviderAndWait('web', provider);
  const reader = Web.getClient('web');
  const look = () => tell('node web (OFREP, SSE)', reader.getStringDetails(flag, 'unreachable').value);
  reader.addHandler('PROVIDER_CONFIGURATION_CHANGED', look);
  look();
}

const failed = (client) => (error) => console.log(JSON.stringify({ client, error: String(error) }));
web().catch(failed('web'));
server('node OFREP', new OFREPProvider({ baseUrl: url }), 3).catch(failed('node OFREP'));
server('node flagd (gRPC)', new FlagdProvider({ resolverType: 'in-process', host: '127.0.0.1', port: Number(port), tls: false })).catch(failed('node flagd (gRPC)'));
server('node flagd (file)', new FlagdProvider({ resolverType: 'in-process', offlineFlagSourcePath: file })).catch(failed('node flagd (file)'));
