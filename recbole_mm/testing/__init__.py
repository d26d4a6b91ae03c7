"""The contract that every recommender and every encoder of recbole_mm meets, for those of your own.

A whole check, which takes a minute or two on a CPU, needs no files and no network:

    from recbole_mm.testing import check_encoder, check_model

    check_model(TasteRec)              # a class, or a name that --model takes
    check_encoder("colours:small")     # a name that --encoder takes

Under pytest each demand can be a test of its own:

    @pytest.mark.parametrize("demand", model_demands(TasteRec), ids=str)
    def test_contract(demand):
        demand()
"""

from recbole_mm.testing.check import check_encoder, check_model, encoder_demands, model_demands
from recbole_mm.testing.demands import ContractError, Demand

__all__ = ["ContractError", "Demand", "check_encoder", "check_model", "encoder_demands", "model_demands"]
