// https://swagger.io/docs/open-source-tools/swagger-ui/usage/configuration/
SwaggerUIBundle({
  url: 'openapi.yaml',
  dom_id: '#reference',
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  docExpansion: 'list',
  // A token is kept by the page, and for as long as the page: never in the browser's store.
  persistAuthorization: false,
  tryItOutEnabled: true,
  // No document is sent anywhere to be judged.
  validatorUrl: null,
});
