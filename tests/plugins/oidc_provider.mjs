// A real OpenID Connect provider on a free loopback port (or the one in argv[3]), which it prints. argv[2]: its library.
// It asks for a name and no password: {"deny": "yes"} instead turns the sign-in down.
import http from "node:http";

const { default: Provider, interactionPolicy } = await import(process.argv[2]);
const accounts = JSON.parse(process.env.ACCOUNTS);
const policy = interactionPolicy.base();
policy.get("consent").checks.remove("native_client_prompt");

const configuration = {
  clients: [
    {
      client_id: "kemudi",
      client_secret: process.env.CLIENT_SECRET,
      application_type: "native", // on loopback, any port
      redirect_uris: ["http://127.0.0.1/sign-in/oidc/back"],
      post_logout_redirect_uris: ["http://127.0.0.1/sign-in"],
    },
  ],
  claims: {
    openid: ["sub"],
    profile: ["name", "preferred_username"],
    email: ["email", "email_verified"],
    groups: ["groups"],
  },
  features: { devInteractions: { enabled: false } },
  pkce: { required: () => true, methods: ["S256"] },
  interactions: { policy, url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
  ttl: { Session: 600, Interaction: 600, Grant: 600, AccessToken: 600, IdToken: 600 },
  findAccount: (_ctx, id) =>
    accounts[id] && { accountId: id, claims: () => ({ sub: id, ...accounts[id] }) },
  async loadExistingGrant({ oidc }) {
    const grant = new oidc.provider.Grant({
      clientId: oidc.client.clientId,
      accountId: oidc.session.accountId,
    });
    grant.addOIDCScope("openid profile email groups");
    await grant.save();
    return grant;
  },
};

const server = http.createServer();
server.listen(Number(process.argv[3] ?? 0), "127.0.0.1", () => {
  const { port } = server.address();
  const provider = new Provider(`http://127.0.0.1:${port}`, configuration);
  provider.Client.prototype.postLogoutRedirectUriAllowed = (uri) =>
    /^http:\/\/127\.0\.0\.1:\d+\/sign-in$/.test(uri);
  const answer = provider.callback();
  server.on("request", (request, response) => {
    if (!request.url.startsWith("/interaction/")) {
      answer(request, response);
    } else if (request.method === "POST") {
      finish(provider, request, response);
    } else {
      response.setHeader("Content-Type", "text/html");
      response.end('<form method="post"><input name="login" autofocus><button>Go on</button></form>');
    }
  });
  console.log(`port ${port}`);
});

async function finish(provider, request, response) {
  const parts = [];
  for await (const part of request) parts.push(part);
  const sent = new URLSearchParams(Buffer.concat(parts).toString());
  const result = sent.get("deny")
    ? { error: "access_denied" }
    : { login: { accountId: sent.get("login") } };
  await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
}
