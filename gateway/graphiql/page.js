// Runs in the browser: GraphiQL on the endpoint that served this page.
/* global GraphiQL, React, ReactDOM */

const defaultQuery = `# Ctrl-Space completes, Ctrl-Enter runs. The stock of one item in one store:
query Stock($storeId: ID!, $itemId: ID!) {
  inventory(storeId: $storeId, itemId: $itemId) {
    onHand
    received
    sold
    lastSaleAt
  }
}

# The whole chain:
query Chain {
  totals {
    items
    onHand
    oversoldItems
    coverage {
      complete
    }
  }
}
`;

const fetcher = GraphiQL.createFetcher({ url: window.location.pathname });
const page = React.createElement(GraphiQL, {
  fetcher,
  defaultQuery,
  defaultEditorToolsVisibility: 'variables',
});
ReactDOM.createRoot(document.querySelector('#graphiql')).render(page);
