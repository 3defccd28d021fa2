// https://scalar.com/products/api-references/configuration
// Only the laptop has a token to fill in.
const { token } = await (await fetch('laptop.json')).json();
Scalar.createApiReference('#reference', {
  url: 'openapi.yaml',
  authentication: {
    preferredSecurityScheme: 'Token',
    securitySchemes: { Token: { token: token ?? '' } },
  },
  // A token is kept by the page, and for as long as the page: never in the browser's store.
  persistAuth: false,
  documentDownloadType: 'none',
  hideClientButton: true,
  defaultOpenFirstTag: true,
  // Nothing that asks, tells or brings in anyone else.
  agent: { disabled: true },
  mcp: { disabled: true },
  showDeveloperTools: 'never',
  telemetry: false,
  withDefaultFonts: false,
});
